"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from lqhq.runtime.errors import EngineError, OptionError
from lqhq.runtime.session import Feed, Fetch

__all__ = ["OnnxSession"]

# onnxruntime's own errors have no common ancestor below Exception, so they are listed by looking; a wrong feed is a
# plain ValueError.
FAILURES: tuple[type[Exception], ...] = (
    ValueError,
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)
MAX_THREADS = 256  # each is a thread that spins; thousands take a machine down
FATAL = 4  # ONNX Runtime's levels: 3 would print an error that we raise anyway, with what to do


class OnnxSession:
    """A graph in ONNX Runtime's CPU provider. Raises `EngineError` when it cannot be opened or run."""

    def __init__(self, path: Path, *, device: str = "cpu", threads: int) -> None:
        if device != "cpu":
            raise EngineError(
                "device",
                found=repr(device),
                expected="'cpu'",
                mend="This release runs ONNX graphs on the CPU only.",
            )
        if not 1 <= threads <= MAX_THREADS:
            raise OptionError(
                "threads", found=str(threads), expected=f"1 to {MAX_THREADS}", mend="Leave it out: all processors."
            )
        options = ort.SessionOptions()
        options.log_severity_level = FATAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Measured in benchmarks/session_options.py: planned memory patterns take up to 1.4 times the memory and save no
        # time; without the arena the peak is 1.8 to 6.7 times as high; every lower optimisation level is slower.
        options.enable_mem_pattern = False
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except FAILURES as error:
            raise _failure(path.name, error) from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._where = path.name

    def run(self, feed: Feed) -> Fetch:
        """`feed` and the result are by the graph's own names; float32."""
        if self._session is None:
            raise EngineError(
                self._where, found="a closed session", expected="an open one", mend="Open the restorer again."
            )
        arrays = {name: np.ascontiguousarray(array) for name, array in feed.items()}
        try:
            values = self._session.run(self._outputs, arrays)
        except FAILURES as error:
            raise _failure(self._where, error) from error
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _failure(where: str, error: Exception) -> EngineError:
    return EngineError(
        where,
        found=str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__,
        expected="a graph that ONNX Runtime runs",
        mend="Run `lqhq doctor`; if it is well, use a smaller --tile, or export the bundle again.",
    )
