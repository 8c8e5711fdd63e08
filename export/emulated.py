"""How graphs of every precision are run at export, on a CPU: half precision is emulated there, and labelled so.

ONNX Runtime's CPU computes float16 operators in float32 and rounds the results; it has no bfloat16 convolution, so
such a graph is run as its twin. Neither shows an overflow between two operators that ONNX Runtime fuses, which
`HalfArithmetic` does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lqhq.export.bf16_twin import write_twin
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.precision import Precision
from lqhq.runtime.session import Session

__all__ = ["emulated_session"]


@contextmanager
def emulated_session(file: Path, precision: Precision, *, threads: int) -> Iterator[Session]:
    """The graph in `file` on this CPU. Raises `EngineError` when it cannot be opened."""
    if precision != "bf16":
        with OnnxSession(file, threads=threads) as session:
            yield session
        return
    with tempfile.TemporaryDirectory() as folder:
        twin = Path(folder) / file.name
        write_twin(file, twin)
        with OnnxSession(twin, threads=threads) as session:
            yield session
