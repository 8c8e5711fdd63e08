"""The checks of `lqhq doctor` for engines and GPUs: one line per engine and device, with the exact mend. None raises.

Torch is not imported for it: that takes seconds, and its version is in its metadata.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from lqhq.runtime.engine_spec import Flavour
from lqhq.runtime.errors import LqhqError
from lqhq.runtime.nvidia import Nvidia, find_nvidia
from lqhq.tools.cli.columns import size_text
from lqhq.tools.cli.machine_checks import DOUBLE, Check

__all__ = ["cuda_check", "engine_checks", "flavour_check", "gpu_check"]

NO_GPU = "Needs an NVIDIA GPU and its driver; in a container, start it with --gpus all."
NEW_TORCH = "pip install --force-reinstall torch"  # from the plain index, whose build has CUDA


def engine_checks() -> list[Check]:
    """The GPU, then each engine that may use it."""
    nvidia = find_nvidia()
    flavours: tuple[Flavour, ...] = ("tensorrt", "tensorrt-rtx")
    return [gpu_check(nvidia), cuda_check(nvidia), *(flavour_check(name, nvidia) for name in flavours)]


def gpu_check(nvidia: Nvidia) -> Check:
    """What NVIDIA's driver says."""
    if nvidia.gpus:
        gpus = ", ".join(f"{gpu}, {size_text(gpu.memory)}" for gpu in nvidia.gpus)
        return Check("gpu", "ok", f"{gpus}; driver {nvidia.driver or 'of an unknown version'}")
    if nvidia.fault == Nvidia(fault="no NVIDIA driver").fault:
        return Check("gpu", "ok", "none, no NVIDIA driver: networks run on the CPU")
    return Check("gpu", "warn", nvidia.fault, "Run nvidia-smi, which says more; a new driver wants a restart.")


def cuda_check(nvidia: Nvidia, run: Callable[[], str | None] | None = None) -> Check:
    """ONNX Runtime on the GPU: what stands in the way, or a graph that is run there by `run`."""
    name = "engine onnx cuda"
    try:
        import onnxruntime

        from lqhq.runtime.engines import cuda_provider
    except (ImportError, OSError) as error:
        return Check(name, "missing", " ".join(str(error).split())[:200], "pip install onnxruntime-gpu")
    offered = cuda_provider.NAME in onnxruntime.get_available_providers()
    found = cuda_provider.absence(offered=offered, packages=cuda_provider.installed(), driver=True, libraries=True)
    if not nvidia.gpus:
        beside = f"; {found.why}" if found is not None and "over each other" in found.why else ""
        return Check(name, "missing", f"{nvidia.fault}{beside}", NO_GPU)
    if found is not None:
        return Check(name, "missing", found.why, found.mend)
    try:
        wrong = (run or run_on_cuda)()
    except LqhqError as error:
        return Check(name, "missing", error.found, error.mend)
    if wrong is not None:
        return Check(name, "missing", f"x + x gave {wrong}", "pip install --force-reinstall onnxruntime-gpu")
    return Check(name, "ok", f"onnxruntime {onnxruntime.__version__} ran a graph on {nvidia.gpus[0]}")


def run_on_cuda() -> str | None:
    """Run a graph of one operator; None where the answer is right. Raises `EngineError`."""
    import numpy as np

    from lqhq.runtime.engines.onnx import OnnxSession

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "double.onnx"
        path.write_bytes(DOUBLE)
        with OnnxSession(path, device="cuda", threads=1) as session:
            doubled = session.run({"x": np.array([1, 2.5], np.float32)})["y"].tolist()
    return None if doubled == [2, 5] else str(doubled)


def flavour_check(name: Flavour, nvidia: Nvidia, load: Callable[[Flavour], Any] | None = None) -> Check:
    """TensorRT or TensorRT-RTX: usable, or for building only, or not. Nothing is built or run for it."""
    from lqhq.runtime.engines.trt.flavour import MODULES, load_flavour, refusal

    line, (_, title, install) = f"engine {name}", MODULES[name]
    rtx = name == "tensorrt-rtx"
    gpu = nvidia.gpus[0] if nvidia.gpus else None
    try:
        flavour = (load or load_flavour)(name)
    except LqhqError as error:
        if rtx or gpu:
            return Check(line, "missing", error.found, install)
        return Check(line, "missing", f"{error.found}; {nvidia.fault}", f"{title} builds and runs on a GPU only.")
    named = f"{title} {flavour.version}"
    builds = f"{named} builds engines for {', '.join(flavour.targets)}" if rtx else named
    if gpu is None:
        mend = "Run the engines on a machine with an RTX GPU: `lqhq engines build --help`." if rtx else NO_GPU
        return Check(line, "warn" if rtx else "missing", f"{builds}; cannot run here: {nvidia.fault}", mend)
    reason = refusal(flavour, gpu.sm) if rtx else None
    if reason:
        return Check(line, "warn", f"{builds}; cannot run on {gpu}: {reason}", "Use engine tensorrt or onnx.")
    torch = torch_fault()
    if torch:
        return Check(line, "missing", f"{named}, but {torch[0]}", torch[1])
    return Check(line, "ok", f"{builds if rtx else named}; runs on {gpu} (no run was tried)")


def torch_fault() -> tuple[str, str] | None:
    """Why there can be no arrays on the GPU, and the mend, by metadata alone; None where nothing speaks against it."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return "PyTorch, which holds its arrays, is missing", "pip install '.[gpu]'"
    return (f"PyTorch {version} is built without CUDA", NEW_TORCH) if version.endswith("+cpu") else None
