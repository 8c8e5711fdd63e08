"""The engine of a graph, ready to be opened: from the cache, or built with the flavour that is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lqhq.runtime.engine_cache.key import Here, key_of
from lqhq.runtime.engine_cache.side import read_side, timing_name, write_side
from lqhq.runtime.engine_cache.store import CachedEngine, obtain
from lqhq.runtime.engine_spec import EngineSpec
from lqhq.runtime.engines.trt.build import BuiltEngine, build_engine
from lqhq.runtime.engines.trt.progress import OnProgress
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.verified import CACHE_FILE

__all__ = ["engine_for"]


def engine_for(
    graph: GraphFile,
    spec: EngineSpec,
    here: Here,
    *,
    folder: Path,
    say: Callable[[str], None],
    progress: OnProgress | None = None,
    cancel: Callable[[], bool] | None = None,
    verified: Path | None = CACHE_FILE,
) -> CachedEngine:
    """What `obtain` gives, built by `build_engine`, with the timing cache of full TensorRT kept between builds.

    Raises `EngineError` where it cannot be built here, `CancelledError` when `cancel` says stop.
    """
    key = key_of(graph, spec, here)
    # TensorRT-RTX times nothing while it builds, and without a GPU nobody does.
    timing = timing_name(key, key.gpu, here.driver) if key.flavour == "tensorrt" and key.gpu else None

    def build() -> BuiltEngine:
        known = None if timing is None else read_side(folder, timing)
        built = build_engine(graph, spec, progress=progress, cancel=cancel, timing_cache=known)
        if timing is not None and built.timing_cache:
            write_side(folder, timing, built.timing_cache, say=say)
        return built

    return obtain(key, build, folder=folder, say=say, cancel=cancel, verified=verified)
