"""One shape of one engine, ready to run again and again: a context, its buffers, and its CUDA graph.

TensorRT reports trouble by False, None or a list of names, never by raising; each is looked at. Unverified on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lqhq.runtime.engines.device_arrays import DeviceArrays
from lqhq.runtime.errors import EngineError
from lqhq.runtime.session import DeviceArray, Feed

__all__ = ["Place", "Shapes"]

Shapes = Mapping[str, tuple[int, ...]]


class Place:
    """A context with the shapes `inputs`, which must give `outputs`. It is used on the stream of `arrays` alone."""

    def __init__(
        self,
        where: str,
        context: Any,
        arrays: DeviceArrays,
        *,
        profile: int,
        inputs: Shapes,
        outputs: Shapes,
        integers: frozenset[str] = frozenset(),
        say: Callable[[str], None],
    ) -> None:
        self._where, self._context, self._arrays, self._say = where, context, arrays, say
        self._warm = False
        self._captured: tuple[tuple[object, ...], Callable[[], None]] | None = None
        self._recordable = True
        self._must(context.set_optimization_profile_async(profile, arrays.stream), f"profile {profile}")
        for name, shape in inputs.items():
            self._must(context.set_input_shape(name, shape), f"{name} of shape {shape}")
        missing = context.infer_shapes()
        if missing:
            raise self._failure(f"no shape for {', '.join(missing)}")
        for name, shape in outputs.items():
            found = tuple(context.get_tensor_shape(name))
            if found != shape:
                raise self._failure(f"an output {name} of shape {found} instead of {shape}")
        self._profile = profile
        self._inputs = {
            name: arrays.integers(shape) if name in integers else arrays.empty(shape) for name, shape in inputs.items()
        }
        self._outputs = {name: arrays.empty(shape) for name, shape in outputs.items()}
        for name, array in (self._inputs | self._outputs).items():
            self._must(context.set_tensor_address(name, array.data_ptr()), f"memory for {name}")

    def run(self, feed: Feed, *, scratch: DeviceArray) -> Mapping[str, DeviceArray]:
        """Queue one run; the outputs are this place's own buffers, which the next run overwrites.

        scratch: the memory that the engine computes in, shared by all places of a session.
        """
        for name, array in feed.items():
            self._arrays.upload(array, self._inputs[name])
        self._replay(scratch)
        return self._outputs

    def _replay(self, scratch: DeviceArray) -> None:
        """By the CUDA graph, recorded at the second run: the first makes kernels, which may not be recorded."""
        key = self.capture_key(scratch)
        if self._captured is not None and self._captured[0] == key:
            self._captured[1]()
            return
        self._captured = None
        self._context.set_device_memory(scratch.data_ptr(), int(scratch.shape[0]))
        if self._warm and self._recordable and self._may_record():
            try:
                self._captured = key, self._arrays.capture(self._launch)
            except EngineError as error:  # slower, but right; said once
                self._recordable = False
                self._say(f"{self._where}: runs without a CUDA graph: {error.found}")
            else:
                self._captured[1]()
                return
        self._launch()
        self._warm = True

    def capture_key(self, scratch: DeviceArray) -> tuple[object, ...]:
        """All that a recorded graph holds fast: where any of it differs, it must be recorded anew."""
        buffers = self._inputs | self._outputs
        addresses = tuple((name, tuple(array.shape), array.data_ptr()) for name, array in buffers.items())
        return (self._profile, scratch.data_ptr(), *addresses)

    def _may_record(self) -> bool:
        """TensorRT-RTX cannot be recorded while it still makes kernels, and says so; full TensorRT always can."""
        capturable = getattr(self._context, "is_stream_capturable", None)
        return capturable is None or bool(capturable(self._arrays.stream))

    def _launch(self) -> None:
        self._must(self._context.execute_async_v3(self._arrays.stream), "a run")

    def _must(self, went_well: bool, what: str) -> None:
        if went_well is False or went_well is None:
            raise self._failure(f"TensorRT refuses {what}")

    def _failure(self, found: str) -> EngineError:
        return EngineError(
            self._where,
            found=found,
            expected="an engine that runs what it was built for",
            mend="Use a smaller --tile; if it stays, `lqhq engines clean` and run again, or use engine 'onnx'.",
        )
