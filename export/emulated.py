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


SPARING_ABOVE = 1 << 30  # bytes of weights


def emulated_session(file: Path, precision: Precision, *, threads: int) -> OnnxSession:
    """The graph in `file` on this CPU. Raises `EngineError` when it cannot be opened.

    A large one in half precision is run as it stands: ONNX Runtime's optimiser would keep a float32 copy of its weights
    beside them, which takes three times the memory.
    """
    if precision != "bf16":
        data = file.with_name(f"{file.name}.data")
        size = file.stat().st_size + (data.stat().st_size if data.exists() else 0)
        return OnnxSession(file, threads=threads, optimised=precision == "fp32" or size <= SPARING_ABOVE)
    with tempfile.TemporaryDirectory() as folder:  # an opened session needs its file no more
        twin = Path(folder) / file.name
        write_twin(file, twin)
        return OnnxSession(twin, threads=threads)
