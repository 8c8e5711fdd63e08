"""What of this machine decides which engines it can use, asked of the flavours and of the driver."""

from __future__ import annotations

from collections.abc import Iterable

from lqhq.runtime.engine_cache.key import Gpu, Here
from lqhq.runtime.engine_spec import Flavour
from lqhq.runtime.engines.trt.flavour import load_flavour
from lqhq.runtime.errors import EngineError
from lqhq.runtime.nvidia import Nvidia, find_nvidia

__all__ = ["this_machine"]


def this_machine(flavours: Iterable[Flavour], *, ordinal: int = 0, nvidia: Nvidia | None = None) -> Here:
    """This machine with those of `flavours` that are installed, and GPU `ordinal` in the order of their buses.

    nvidia: as `find_nvidia` answers; None asks it.
    """
    versions: dict[Flavour, str] = {}
    for flavour in flavours:
        try:
            versions[flavour] = load_flavour(flavour).version
        except EngineError:
            continue  # not installed: its absence in `versions` says so
    found = find_nvidia() if nvidia is None else nvidia
    gpus = found.gpus[ordinal : ordinal + 1]
    gpu = Gpu(name=gpus[0].name, sm=gpus[0].sm) if gpus else None
    return Here(versions=versions, gpu=gpu, driver=found.driver)
