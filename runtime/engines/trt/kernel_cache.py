"""The kernels that TensorRT-RTX makes when an engine is opened, kept for the next start. Unverified on a GPU.

Its engines are portable: their kernels are made on the user's GPU, which takes seconds, and can be taken over from a
runtime cache. One is kept for each engine, GPU and driver; a damaged or foreign one is merely not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lqhq.runtime.engine_cache.key import Here
from lqhq.runtime.engine_cache.side import kernels_name, read_side, write_side
from lqhq.runtime.engines.trt.loading import OpenedEngine

__all__ = ["KernelCache"]


class KernelCache:
    """The runtime cache of one opened engine. An unknown GPU or driver keeps nothing."""

    def __init__(self, opened: OpenedEngine, *, folder: Path, here: Here, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._name = kernels_name(opened.record, here.gpu, here.driver) if here.gpu and here.driver else None
        self._config: Any = opened.engine.create_runtime_config()
        self._cache: Any = self._config.create_runtime_cache()
        data = None if self._name is None else read_side(folder, self._name)
        self._read = hashlib.sha256(data).digest() if data else b""
        if data and self._cache.deserialize(data) is False:
            say(f"{self._name} is not used: TensorRT-RTX refuses it; kernels are made anew")
            self._read = b""
        if self._config.set_runtime_cache(self._cache) is False:
            say("TensorRT-RTX takes no cache of kernels: they are made at every start")
            self._name = None

    def config(self, strategy: Any) -> Any:
        """What a context is made with."""
        self._config.set_execution_context_allocation_strategy(strategy)
        return self._config

    def save(self) -> None:
        """Keep what was made since; nothing is written where nothing was."""
        if self._name is None:
            return
        made = self._cache.serialize()
        if made is None:
            return
        data = memoryview(made).cast("B")
        if data.nbytes and hashlib.sha256(data).digest() != self._read:
            write_side(self._folder, self._name, data, say=self._say)
