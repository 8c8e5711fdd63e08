"""The NVIDIA GPUs of this machine and their driver, asked of the driver's own library: no torch, no CUDA.

NVML's names and structures: nvml.h of the CUDA toolkit. Where the library is missing there is no driver. What it
answers on a machine with a GPU is unverified.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["Nvidia", "NvidiaGpu", "find_nvidia", "read_nvml"]

TEXT = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE; the driver's version takes 80
LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class NvidiaGpu:
    """One GPU: the driver's name for it, its compute capability such as (8, 9), and its memory in bytes."""

    name: str
    capability: tuple[int, int]
    memory: int

    @property
    def sm(self) -> str:
        """The capability as engines' targets are written: sm89."""
        return "sm{}{}".format(*self.capability)

    def __str__(self) -> str:
        return f"{self.name} ({self.sm})"


@dataclass(frozen=True, slots=True)
class Nvidia:
    """What NVML says. `driver` is its version, such as 570.86.15, None where there is none; `fault` says why."""

    driver: str | None = None
    gpus: tuple[NvidiaGpu, ...] = ()
    fault: str = ""


def find_nvidia(load: Callable[[str], Any] = ctypes.CDLL) -> Nvidia:
    """What is here, or why nothing is. Never raises."""
    try:
        library = load(LIBRARY)
    except OSError:
        return Nvidia(fault="no NVIDIA driver")
    return read_nvml(library)


def read_nvml(library: Any) -> Nvidia:
    """Ask a loaded NVML. Every call returns 0 where it went well; GPUs come in the order of their buses."""
    code = library.nvmlInit_v2()
    if code:
        return Nvidia(fault=f"an NVIDIA driver that does not answer (NVML error {code})")
    try:
        text = ctypes.create_string_buffer(TEXT)
        driver = _text(text) if not library.nvmlSystemGetDriverVersion(text, ctypes.c_uint(TEXT)) else None
        count = ctypes.c_uint()
        if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) or not count.value:
            return Nvidia(driver, fault="an NVIDIA driver, but no GPU that this process may use")
        found = [_gpu(library, index) for index in range(count.value)]
    finally:
        library.nvmlShutdown()
    gpus = tuple(gpu for gpu in found if gpu is not None)
    return Nvidia(driver, gpus, "" if gpus else "a GPU that NVML cannot describe")


class _Memory(ctypes.Structure):
    _fields_: ClassVar = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


def _gpu(library: Any, index: int) -> NvidiaGpu | None:
    handle, text = ctypes.c_void_p(), ctypes.create_string_buffer(TEXT)
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), _Memory()
    if (
        library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle))
        or library.nvmlDeviceGetName(handle, text, ctypes.c_uint(TEXT))
        or library.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    ):
        return None
    known = not library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return NvidiaGpu(_text(text), (major.value, minor.value), int(memory.total) if known else 0)


def _text(buffer: Any) -> str:
    """Printable ASCII alone: it is shown, and written into keys."""
    return "".join(chr(byte) for byte in bytes(buffer.value) if 32 <= byte < 127).strip() or "unknown"
