"""The two modules `tensorrt` and `tensorrt_rtx` behind one value: what is installed, and what it can build for.

Full TensorRT does not install on the machines that lqhq is developed on: its half follows NVIDIA's headers and
documents, and is unverified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any

from lqhq.runtime.engine_spec import Flavour
from lqhq.runtime.engines.trt.log import Words, make_logger
from lqhq.runtime.errors import EngineError
from lqhq.runtime.nvidia import Nvidia, find_nvidia

__all__ = ["MODULES", "LoadedFlavour", "build_targets", "load_flavour", "refusal"]

MODULES: dict[Flavour, tuple[str, str, str]] = {
    "tensorrt": ("tensorrt", "TensorRT", "pip install '.[tensorrt]' --extra-index-url https://pypi.nvidia.com"),
    "tensorrt-rtx": ("tensorrt_rtx", "TensorRT-RTX", "pip install '.[rtx]'"),
}  # the module, what people call it, the command that installs it
OLDEST = {"tensorrt": 10, "tensorrt-rtx": 1}  # before TensorRT 10 a network could not be strongly typed
MEMBER = re.compile(r"SM[0-9]{2,3}")
HOPPER = "TensorRT-RTX has no Hopper target; use engine tensorrt or onnx"
LACKING = {
    "sm90": HOPPER,
    "sm100": "TensorRT-RTX has no target for data-centre Blackwell; use engine tensorrt or onnx",
    "sm103": "TensorRT-RTX has no target for data-centre Blackwell; use engine tensorrt or onnx",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFlavour:
    """An imported flavour. `targets` is empty where only the GPU that is there can be built for.

    `logger` is the one logger of the process, as TensorRT wants it; it fills `words`. `lock` is held by a build, or
    the words of two would mix.
    """

    name: Flavour
    title: str
    module: Any
    version: str
    targets: tuple[str, ...]
    words: Words
    logger: Any
    lock: Lock = field(default_factory=Lock)

    @property
    def major(self) -> int:
        """The first number of the version."""
        return int(self.version.split(".")[0])


@cache
def load_flavour(name: Flavour) -> LoadedFlavour:
    """Import a flavour, once. Raises `EngineError` where it is not installed, broken or too old."""
    where, title, install = MODULES[name]
    try:
        module = import_module(where)
    except ModuleNotFoundError as error:
        found = "not installed" if error.name == where else f"a broken installation: {error}"
        raise _unusable(name, title, found, f"Install it, in lqhq's source folder: {install}") from error
    # Bindings without their libraries: ctypes says OSError, the bindings' own loading ImportError.
    except (ImportError, OSError) as error:
        again = f"Remove the packages of {title}, then install it again, in lqhq's source folder: {install}"
        raise _unusable(name, title, f"a broken installation: {_line(error)}", again) from error
    version = str(getattr(module, "__version__", "0"))
    if not version.split(".")[0].isdecimal() or int(version.split(".")[0]) < OLDEST[name]:
        raise _unusable(name, title, f"version {version}", f"Update it, in lqhq's source folder: {install} -U")
    words = Words()
    logger = make_logger(module, words)
    return LoadedFlavour(
        name=name,
        title=title,
        module=module,
        version=version,
        targets=_targets(module) if name == "tensorrt-rtx" else (),
        words=words,
        logger=logger,
    )


def refusal(flavour: LoadedFlavour, target: str) -> str | None:
    """Why the flavour cannot build for `target` by name; None where it can."""
    if not flavour.targets:
        return f"{flavour.title} builds only for the GPU of the machine that builds; name no target"
    if target in flavour.targets:
        return None
    reason = LACKING.get(target, f"{flavour.title} {flavour.version} has no target {target}")
    return f"{reason} ({flavour.title} has {', '.join(flavour.targets)})"


def build_targets(flavour: LoadedFlavour, targets: Sequence[str], *, nvidia: Nvidia | None = None) -> tuple[str, ...]:
    """The targets to build for: those asked for, or that of the first GPU here. Raises `EngineError`.

    nvidia: as `find_nvidia` answers; None asks it.
    """
    for target in targets:
        reason = refusal(flavour, target)
        if reason:
            raise _refused(flavour, f"target {target}", reason, "Leave that target out.")
    if len(set(targets)) < len(targets):
        raise _refused(flavour, f"targets {', '.join(targets)}", "each target once", "Leave the second out.")
    if targets:
        return tuple(targets)
    found = find_nvidia() if nvidia is None else nvidia
    if not found.gpus:
        if flavour.targets:
            mend = f"Name the GPUs to build for: {', '.join(flavour.targets)}."
        else:
            mend = "Build on the machine that will run it, or use engine tensorrt-rtx or onnx."
        raise _refused(flavour, found.fault, "a GPU to build for", mend)
    here = found.gpus[0]
    reason = refusal(flavour, here.sm) if flavour.targets else None
    if reason:
        raise _refused(flavour, str(here), reason, "Or name the targets of other machines.")
    return (here.sm,)


def _targets(module: Any) -> tuple[str, ...]:
    """Compute capabilities that the module itself knows, in ascending order."""
    names = (name for name in module.ComputeCapability.__members__ if MEMBER.fullmatch(name))
    return tuple(sorted((name.lower() for name in names), key=lambda name: int(name[2:])))


def _unusable(name: str, title: str, found: str, mend: str) -> EngineError:
    return EngineError(f"engine {name}", found=found, expected=f"{title} {OLDEST[name]} or newer", mend=mend)


def _refused(flavour: LoadedFlavour, found: str, expected: str, mend: str) -> EngineError:
    return EngineError(f"engine {flavour.name}", found=found, expected=expected, mend=mend)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
