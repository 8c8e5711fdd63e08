"""ONNX Runtime: its CPU and CUDA providers. Running on a GPU is unverified until a table from one is committed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.engines import cuda_provider
from lqhq.runtime.engines.device_arrays import from_dlpack, holds_tensor, import_torch, wait_for
from lqhq.runtime.engines.feed_check import check_feed
from lqhq.runtime.engines.onnx_arena import share_arena
from lqhq.runtime.engines.setup import Device, Setup, parse_device
from lqhq.runtime.errors import EngineError, OptionError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.session import Feed, Fetch

__all__ = ["OnnxSession", "open_onnx"]

# onnxruntime's own errors have no common ancestor below Exception, so they are listed by looking; a wrong feed is a
# plain ValueError, a bound run that fails a plain RuntimeError.
FAILURES: tuple[type[Exception], ...] = (
    ValueError,
    RuntimeError,
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)
MAX_THREADS = 256  # each is a thread that spins; thousands take a machine down
FATAL = 4  # ONNX Runtime's levels: 3 would print an error that we raise anyway, with what to do


def open_onnx(graph: GraphFile, setup: Setup) -> OnnxSession:
    """A session on `setup.device`, "cpu" where none is named. Raises `EngineError` or `OptionError`.

    "auto" takes CUDA where that works, and says which it took, and why not CUDA.
    """
    threads = cpu_count() if setup.threads is None else setup.threads

    def opened(device: str) -> OnnxSession:
        return OnnxSession(
            graph.path,
            device=device,
            threads=threads,
            keep=setup.keep,
            precision=graph.precision,
            turns=setup.turns,
        )

    if setup.device is None or parse_device(setup.device).kind != "auto":
        return opened(setup.device or "cpu")
    try:
        session = opened("cuda")
    except EngineError as error:
        setup.say(f"{graph.role}: onnx on the CPU, since CUDA is not to be had: {error.found}")
        return opened("cpu")
    setup.say(f"{graph.role}: onnx on cuda:0")
    return session


class OnnxSession:
    """A graph in ONNX Runtime. Raises `EngineError` when it cannot be opened on `device`, or run.

    CUDA is in truth CUDA: ONNX Runtime falls back to the CPU in silence, which is an error here. `keep` is as in
    `Setup`, and so is `turns`; `precision` is for messages; a graph that is not `optimised` is run node by node, as it
    stands.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        threads: int,
        keep: frozenset[str] = frozenset(),
        precision: str = "",
        optimised: bool = True,
        turns: bool = False,
    ) -> None:
        if not 1 <= threads <= MAX_THREADS:
            raise OptionError(
                "threads", found=str(threads), expected=f"1 to {MAX_THREADS}", mend="Leave it out: all processors."
            )
        self._device, self._keep, self._where = _real_device(device), keep, path.name
        try:
            self._session: Any = _inference(path, self._device, threads, optimised, turns)
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        except FAILURES as error:
            raise _cannot_open(path.name, error, precision, self._device) from error
        if self._device.kind == "cuda":
            cuda_provider.require(self._session.get_providers(), self._device)
        self._inputs: Mapping[str, tuple[int | str | None, ...]] = {one.name: tuple(one.shape) for one in inputs}
        self._integers = frozenset(one.name for one in inputs if one.type == "tensor(int64)")
        self._outputs = [output.name for output in outputs]

    @property
    def largest(self) -> None:
        """Any size."""
        return None

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Any shape."""
        return ()

    def run(self, feed: Feed) -> Fetch:
        """`feed` and the result are by the graph's own names; float32. See `Session` for devices."""
        if self._session is None:
            raise EngineError(
                self._where, found="a closed session", expected="an open one", mend="Open the restorer again."
            )
        check_feed(self._where, self._inputs, feed, integers=self._integers)
        bound = self._device.kind == "cuda" or holds_tensor(feed)
        try:
            return self._run_bound(feed) if bound else self._run_host(feed)
        except FAILURES as error:
            raise _failure(self._where, error) from error

    def _run_host(self, feed: Feed) -> Fetch:
        arrays = {name: np.ascontiguousarray(array) for name, array in feed.items()}
        return dict(zip(self._outputs, self._session.run(self._outputs, arrays), strict=True))

    def _run_bound(self, feed: Feed) -> Fetch:
        """Tensors are bound where they lie; outputs are ONNX Runtime's own memory, new for every run."""
        kind, index = self._device
        binding = self._session.io_binding()
        held: list[Any] = []  # what is bound must outlive the run
        for name, array in feed.items():
            if isinstance(array, np.ndarray):
                held.append(array := np.ascontiguousarray(array))
                binding.bind_cpu_input(name, array)
                continue
            tensor = array if str(array.device) == str(self._device) else _moved(array, str(self._device))
            held.append(tensor := tensor.contiguous())
            wait_for(tensor)
            dtype = np.int64 if name in self._integers else np.float32
            binding.bind_input(name, kind, index, dtype, list(tensor.shape), tensor.data_ptr())
        for name in self._outputs:
            place = (kind, index) if name in self._keep else ("cpu", 0)
            binding.bind_output(name, *place)
        self._session.run_with_iobinding(binding)
        values = dict(zip(self._outputs, binding.get_outputs(), strict=True))
        return {name: self._fetch(name, value) for name, value in values.items()}

    def _fetch(self, name: str, value: Any) -> Any:
        if name in self._keep:
            return from_dlpack(value._get_c_value().to_dlpack())
        return value.numpy()

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _real_device(text: str) -> Device:
    device = parse_device(text)
    if device.kind == "auto":
        raise OptionError("device", found="'auto'", expected="one device", mend="Open the graph with `open_session`.")
    if device.kind == "cuda":
        cuda_provider.prepare(ort)
    return device


def _inference(path: Path, device: Device, threads: int, optimised: bool, turns: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    # Measured in benchmarks/session_options.py: planned memory patterns take up to 1.4 times the memory and save no
    # time; without the arena the peak is 1.8 to 6.7 times as high; every lower optimisation level is slower.
    options.enable_mem_pattern = False
    if turns:
        share_arena(options)
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.kind == "cuda":
        # fp32 is fp32: TF32, the provider's default, keeps 10 bits of the mantissa.
        providers = [(cuda_provider.NAME, {"device_id": str(device.ordinal), "use_tf32": "0"}), *providers]
    return ort.InferenceSession(str(path), options, providers=providers)


def _moved(array: Any, device: str) -> Any:
    return import_torch().as_tensor(array, device=device)


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def _cannot_open(where: str, error: Exception, precision: str, device: Device) -> EngineError:
    if "Could not find an implementation" not in str(error):
        return _failure(where, error)
    named = f"a graph in {precision}" if precision else "the graph"
    return EngineError(
        where,
        found=f"{named}: {_line(error)}",
        expected=f"operators that ONNX Runtime has on {device}",
        mend="Use precision fp32, or fp16 where the bundle has it; bf16 is for TensorRT engines.",
    )


def _failure(where: str, error: Exception) -> EngineError:
    return EngineError(
        where,
        found=_line(error),
        expected="a graph that ONNX Runtime runs",
        mend="Run `lqhq doctor`; if it is well, use a smaller --tile, or export the bundle again.",
    )
