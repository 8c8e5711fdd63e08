"""ONNX Runtime's CUDA provider: whether it is there, and where it is not, why, and what to do.

ONNX Runtime itself falls back to the CPU without an error, and prints its reason where nobody looks.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NamedTuple

from lqhq.runtime.engines.setup import Device
from lqhq.runtime.errors import EngineError

__all__ = ["NAME", "Absence", "absence", "installed", "library_loads", "prepare", "require"]

NAME = "CUDAExecutionProvider"
PLAIN, GPU = "onnxruntime", "onnxruntime-gpu"
ONLY_GPU = f"pip uninstall -y {PLAIN} {GPU} && pip install '{GPU}[cuda,cudnn]'"
LIBRARIES = tuple((f"libcudart.so.{major}", f"libcublas.so.{major}", "libcudnn.so.9") for major in (12, 13))


class Absence(NamedTuple):
    """Why there is no CUDA provider, and the mend."""

    why: str
    mend: str


def installed() -> frozenset[str]:
    """Which of the two packages, which write into one folder, are installed."""
    found = set()
    for name in (PLAIN, GPU):
        with contextlib.suppress(metadata.PackageNotFoundError):
            metadata.version(name)
            found.add(name)
    return frozenset(found)


def library_loads(name: str) -> bool:
    """Whether the system's loader finds the shared library `name`."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def absence(*, offered: bool, packages: frozenset[str], driver: bool, libraries: bool) -> Absence | None:
    """What stands in the way, the first thing to mend first; None if nothing that we know does.

    offered: ONNX Runtime was built with the provider; packages: `installed()`; driver: libcuda loads; libraries:
    one whole set of CUDA's and cuDNN's libraries loads.
    """
    if not driver:  # whatever else is amiss, it would be mended in vain
        return Absence(
            "no NVIDIA driver (libcuda.so.1 does not load)",
            "Install NVIDIA's driver, start the container with --gpus all, or use device 'cpu'.",
        )
    if not offered and packages >= {PLAIN, GPU}:
        return Absence(f"{PLAIN} and {GPU} are installed over each other, and the one without CUDA won", ONLY_GPU)
    if not offered:
        return Absence(f"this {PLAIN} was built without CUDA", ONLY_GPU)
    if not libraries:
        return Absence(
            "the libraries of CUDA 12 or 13 with cuDNN 9 do not load",
            "pip install 'onnxruntime-gpu[cuda,cudnn]', or install PyTorch of the same CUDA version.",
        )
    return None


def prepare(ort: Any) -> None:
    """Load what the provider needs, and raise `EngineError` at once where it cannot work."""
    offered = NAME in ort.get_available_providers()
    if offered and hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it misses; we say it ourselves
            ort.preload_dlls()
    # The libraries are looked at only where a session did not come out well: our list of them may be wrong one day.
    found = _found(offered, libraries=True)
    if found is not None:
        raise _error(found)


def require(providers: Sequence[str], device: Device) -> None:
    """Raise `EngineError` where an opened session, which has `providers`, does not compute on the GPU."""
    if providers and providers[0] == NAME:
        return
    unknown = Absence(f"ONNX Runtime fell back to {', '.join(providers) or 'nothing'} on {device}", _ASK)
    loaded = any(all(map(library_loads, names)) for names in LIBRARIES)
    raise _error(_found(offered=True, libraries=loaded) or unknown)


_ASK = (
    "Run `lqhq doctor`; check that the GPU's index exists and that the versions of onnxruntime-gpu, CUDA and cuDNN fit."
)


def _found(offered: bool, *, libraries: bool) -> Absence | None:
    return absence(offered=offered, packages=installed(), driver=library_loads("libcuda.so.1"), libraries=libraries)


def _error(found: Absence) -> EngineError:
    return EngineError(
        "device",
        found=found.why,
        expected="ONNX Runtime's CUDA provider",
        mend=f"{found.mend.rstrip('.')}. Device 'auto' falls back to the CPU.",
    )
