"""The engines, by name, and how to open a graph with one. An absent engine costs nothing until it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Protocol, cast

from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.errors import OptionError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.session import Session

__all__ = ["ENGINES", "open_session", "release_shared"]

ENGINES = {
    "onnx": "lqhq.runtime.engines.onnx:open_onnx",
    "tensorrt": "lqhq.runtime.engines.trt.session:open_tensorrt",
    "tensorrt-rtx": "lqhq.runtime.engines.trt.session:open_tensorrt_rtx",
}


ARENA = "lqhq.runtime.engines.onnx_arena"


class _Opener(Protocol):
    def __call__(self, graph: GraphFile, setup: Setup) -> Session: ...


def open_session(engine: str, graph: GraphFile, setup: Setup) -> Session:
    """Open `graph`. Raises `OptionError` for an unknown engine or device, `EngineError` when it cannot run here."""
    if engine not in ENGINES:
        raise OptionError(
            "engine",
            found=repr(engine),
            expected=f"one of {', '.join(sorted(ENGINES))}",
            mend="Use engine 'onnx', which runs everywhere.",
        )
    module, _, name = ENGINES[engine].partition(":")
    return cast(_Opener, getattr(import_module(module), name))(graph, setup)


def release_shared() -> None:
    """Give back the memory that sessions with `Setup.turns` left for one another; nothing where there were none."""
    if (arena := sys.modules.get(ARENA)) is not None:
        arena.release_arena()
