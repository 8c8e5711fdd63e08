"""How graphs of every precision are run at export, on a CPU: half precision is emulated there, and labelled so.

ONNX Runtime's CPU computes float16 operators in float32 and rounds the results; it has no bfloat16 convolution, so
such a graph is run as its twin. Neither shows an overflow between two operators that ONNX Runtime fuses, which
`HalfArithmetic` does.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from lqhq.export.bf16_twin import write_twin
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.precision import Precision

__all__ = ["emulated_session"]


def emulated_session(file: Path, precision: Precision, *, threads: int) -> OnnxSession:
    """The graph in `file` on this CPU. Raises `EngineError` when it cannot be opened."""
    if precision != "bf16":
        return OnnxSession(file, threads=threads)
    with tempfile.TemporaryDirectory() as folder:  # an opened session needs its file no more
        twin = Path(folder) / file.name
        write_twin(file, twin)
        return OnnxSession(twin, threads=threads)
