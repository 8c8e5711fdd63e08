"""The checks of `lqhq doctor`: each tries one thing for real and says what it found. None raises."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from lqhq.tools.cli.columns import size_text
from lqhq.tools.cli.extras import declared_extras

__all__ = ["CHECKS", "Check", "extra_checks"]

# y = x + x for float32 [2], ONNX opset 13, IR 8, as `onnx.helper` writes it; a test compares the two.
DOUBLE = bytes.fromhex(
    "08083a3a0a0e0a01780a017812017922034164641206646f75626c655a0f0a0178120a0a08080112040a020802"
    "620f0a0179120a0a08080112040a02080242040a00100d"
)
TESTED = ((3, 11), (3, 12))
LITTLE_MEMORY = 512 << 20  # bytes; Python, the engine and a small tile of the demo network take most of it
ONNX_CPU = "engine onnx cpu"
AGAIN = "Install lqhq again: pip install --force-reinstall --no-deps . in its folder"
NVIDIA = "--extra-index-url https://pypi.nvidia.com"  # TensorRT's libraries are not on the plain index
CPU_TORCH = "--extra-index-url https://download.pytorch.org/whl/cpu"  # or pip fetches gigabytes of CUDA


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `bad`: upscaling does not work; `warn`: with limits; `missing`: an option not installed."""

    name: str
    status: Literal["ok", "warn", "missing", "bad"]
    found: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def check_python() -> Check:
    """The interpreter and the system, against those that are tested."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] in TESTED and sys.platform == "linux":
        return Check("python", "ok", found)
    return Check("python", "warn", f"{found}, untested", "Use Python 3.11 or 3.12 on Linux.")


def check_engine() -> Check:
    """ONNX Runtime on the CPU, by running a graph of one operator."""
    try:
        import numpy as np
        import onnxruntime

        from lqhq.runtime.engines.onnx import OnnxSession
        from lqhq.runtime.errors import LqhqError
    except (ImportError, OSError) as error:
        return Check(ONNX_CPU, "bad", _import_fault(error), "pip install --force-reinstall onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "double.onnx"
        path.write_bytes(DOUBLE)
        try:
            with OnnxSession(path, device="cpu", threads=1) as session:
                doubled = session.run({"x": np.array([1, 2.5], np.float32)})["y"]
        except LqhqError as error:
            return Check(ONNX_CPU, "bad", error.found, "pip install --force-reinstall onnxruntime")
    if doubled.tolist() != [2, 5]:
        return Check(ONNX_CPU, "bad", f"x + x gave {doubled}", "pip install --force-reinstall onnxruntime")
    providers = ", ".join(onnxruntime.get_available_providers())
    return Check(ONNX_CPU, "ok", f"onnxruntime {onnxruntime.__version__} ran a graph; it has {providers}")


def check_images() -> Check:
    """Every image format, by writing and reading a small image."""
    mend = "pip install --force-reinstall 'pyvips[binary]'"
    try:
        import numpy as np
        import pyvips

        from lqhq.runtime.errors import LqhqError
        from lqhq.runtime.image_file import ImageFile, read_image
        from lqhq.runtime.image_write import write_image
    except (ImportError, OSError) as error:
        return Check("images", "bad", _import_fault(error), mend)
    ramp = np.arange(8 * 8 * 3).reshape(8, 8, 3)
    cases = [(suffix, np.uint8) for suffix in (".png", ".jpg", ".webp", ".tif")]
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, dtype in [*cases, (".png", np.uint16), (".tif", np.uint16)]:
            path = Path(folder) / f"ramp{suffix}"
            try:
                write_image(path, ImageFile(pixels=ramp.astype(dtype)))
                same = read_image(path).pixels.shape == ramp.shape
            except LqhqError:
                same = False
            if not same:
                broken.append(f"{suffix} {np.dtype(dtype).itemsize * 8} bit")
    if broken:
        return Check("images", "bad", f"cannot write and read {', '.join(broken)}", mend)
    library = ".".join(str(pyvips.version(part)) for part in range(3))
    return Check("images", "ok", f"PNG, JPEG, WebP and TIFF can be written and read; libvips {library}")


def check_processors() -> Check:
    """How many threads are worth having."""
    from lqhq.runtime.machine import cpu_count

    usable, there = cpu_count(), os.cpu_count() or 1
    limited = "" if usable == there else f" of {there}; the rest is closed to this process"
    return Check("processors", "ok", f"{usable}{limited}")


def check_memory() -> Check:
    """What is free now, inside the container's limit if there is one."""
    from lqhq.runtime.machine import available_memory, total_memory

    free = available_memory()
    found = f"{size_text(free)} free of {size_text(total_memory())}"
    if free < LITTLE_MEMORY:
        return Check("memory", "warn", found, "Close other programs, or use a small --tile.")
    return Check("memory", "ok", found)


def check_cache() -> Check:
    """Whether checked digests can be remembered; nothing is written."""
    from lqhq.runtime.verified import CACHE_FILE

    try:
        folder = CACHE_FILE.expanduser().parent
    except RuntimeError:
        return Check("cache", "warn", "no home folder: digests are computed at every start", "Set HOME.")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Check("cache", "ok", f"{folder}")
    return Check(
        "cache",
        "warn",
        f"{existing} cannot be written: digests are computed at every start",
        f"Make it writable for your user: chmod u+rwx {existing}",
    )


def check_demo() -> Check:
    """The shipped bundle, by opening it and restoring a small image."""
    try:
        import numpy as np

        from lqhq.runtime.bundle import open_bundle
        from lqhq.runtime.errors import LqhqError
        from lqhq.runtime.restorer import Restorer
    except (ImportError, OSError) as error:
        return Check("demo bundle", "bad", _import_fault(error), AGAIN)
    try:
        bundle = open_bundle("demo", verified=None)
        with Restorer.open(bundle, threads=1) as restorer:
            restored = restorer.restore(np.full((16, 16, 3), 128, np.uint8), seed=0)
    except LqhqError as error:
        return Check("demo bundle", "bad", f"{error.where}: {error.found}", AGAIN)
    height, width = restored.shape[:2]
    return Check("demo bundle", "ok", f"{bundle.manifest.name}: 16 x 16 px became {width} x {height} px")


def extra_checks() -> list[Check]:
    """One check per optional extra, from package metadata: importing torch would take seconds."""
    checks = []
    for extra, packages in declared_extras().items():
        wrong = [package for package in packages if not package.fits]
        mend = f"pip install '.[{extra}]'" + (f" {NVIDIA}" if extra == "tensorrt" else "")
        if any(package.name == "torch" for package in wrong):
            mend += f" {CPU_TORCH}   (without that address for CUDA)"
        found = ", ".join(package.text for package in wrong or packages)
        checks.append(Check(f"extra {extra}", "missing" if wrong else "ok", found, mend if wrong else ""))
    return checks


def _import_fault(error: ImportError | OSError) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


CHECKS = (
    check_python,
    check_engine,
    check_images,
    check_processors,
    check_memory,
    check_cache,
    check_demo,
)
