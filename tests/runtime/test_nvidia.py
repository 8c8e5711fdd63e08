"""NVML read through a stand-in of the library: what it says, and each way in which it says nothing."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from lqhq.runtime.nvidia import Nvidia, NvidiaGpu, find_nvidia, read_nvml

L4, H100 = ("NVIDIA L4", 8, 9, 23 << 30), ("NVIDIA H100 80GB HBM3", 9, 0, 80 << 30)


class Nvml:
    """The library with `gpus`; `codes` are what its functions answer instead of 0."""

    def __init__(self, *gpus: tuple[str, int, int, int], driver: bytes = b"580.65.06", **codes: int) -> None:
        self.gpus, self.driver, self.codes, self.open = gpus, driver, codes, 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        self.open += 1
        return self.codes.get("init", 0)

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.open -= 1
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, size: Any) -> int:  # noqa: N802
        assert size.value >= 80
        text.value = self.driver
        return self.codes.get("version", 0)

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.gpus)
        return self.codes.get("count", 0)

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:  # noqa: N802
        handle._obj.value = index.value + 1
        return self.codes.get("handle", 0)

    def nvmlDeviceGetName(self, handle: Any, text: Any, size: Any) -> int:  # noqa: N802
        assert size.value == ctypes.sizeof(text)
        text.value = self.gpus[handle.value - 1][0].encode()
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any, major: Any, minor: Any) -> int:  # noqa: N802
        _, major._obj.value, minor._obj.value, _ = self.gpus[handle.value - 1]
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        memory._obj.total = self.gpus[handle.value - 1][3]
        return self.codes.get("memory", 0)


def test_gpus_and_driver_are_told() -> None:
    found = read_nvml(Nvml(L4, H100))
    assert found == Nvidia("580.65.06", (NvidiaGpu(L4[0], (8, 9), L4[3]), NvidiaGpu(H100[0], (9, 0), H100[3])))
    assert [gpu.sm for gpu in found.gpus] == ["sm89", "sm90"]
    assert str(found.gpus[0]) == "NVIDIA L4 (sm89)"
    assert NvidiaGpu("x", (12, 0), 0).sm == "sm120"


@pytest.mark.parametrize(
    ("library", "fault"),
    [
        (Nvml(L4, init=9), "does not answer (NVML error 9)"),
        (Nvml(), "no GPU"),
        (Nvml(L4, count=3), "no GPU"),
        (Nvml(L4, handle=4), "cannot describe"),
    ],
)
def test_what_is_missing_is_told(library: Nvml, fault: str) -> None:
    found = read_nvml(library)
    assert fault in found.fault
    assert found.gpus == ()
    assert library.open == library.codes.get("init", 0) // 9  # closed again wherever it was opened


def test_single_answers_may_fail() -> None:
    assert read_nvml(Nvml(L4, memory=1)).gpus[0].memory == 0
    found = read_nvml(Nvml(L4, version=1))
    assert (found.driver, len(found.gpus)) == (None, 1)


def test_names_are_printable_ascii() -> None:
    assert read_nvml(Nvml(("NV\n\x1b[1mIDIA é", 8, 9, 1))).gpus[0].name == "NV[1mIDIA"
    assert read_nvml(Nvml(("é", 8, 9, 1))).gpus[0].name == "unknown"


def test_without_the_library_there_is_no_driver() -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    assert find_nvidia(missing) == Nvidia(fault="no NVIDIA driver")
    assert find_nvidia(lambda _name: Nvml(L4)).gpus[0].sm == "sm89"
    find_nvidia()  # whatever this machine has, it does not raise
