"""The engines, by name, and how to open a graph with one. An absent engine costs nothing until it is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from lqhq.runtime.errors import OptionError
from lqhq.runtime.session import Session

__all__ = ["ENGINES", "open_session"]

ENGINES = {"onnx": "lqhq.runtime.engines.onnx:OnnxSession"}


class _Opener(Protocol):
    def __call__(self, path: Path, *, device: str, threads: int) -> Session: ...


def open_session(engine: str, path: Path, *, device: str, threads: int) -> Session:
    """Open the graph at `path`. Raises `OptionError` for an unknown engine, `EngineError` when it cannot run."""
    if engine not in ENGINES:
        raise OptionError(
            "engine",
            found=repr(engine),
            expected=f"one of {', '.join(sorted(ENGINES))}",
            mend="Use engine 'onnx', which runs everywhere.",
        )
    module, _, name = ENGINES[engine].partition(":")
    return cast(_Opener, getattr(import_module(module), name))(path, device=device, threads=threads)
