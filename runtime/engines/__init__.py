"""The engines, by name, and how to open a graph with one. An absent engine costs nothing until it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.errors import OptionError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.session import Session

__all__ = ["ENGINES", "open_session"]

ENGINES = {
    "onnx": "lqhq.runtime.engines.onnx:open_onnx",
    "tensorrt": "lqhq.runtime.engines.trt.session:open_tensorrt",
    "tensorrt-rtx": "lqhq.runtime.engines.trt.session:open_tensorrt_rtx",
}


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
