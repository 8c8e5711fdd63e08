"""Arrays that live where an engine computes: torch tensors. The only place to import torch.

Torch is imported when a device array is first made; whoever never asks for one never needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import EngineError
from lqhq.runtime.session import DeviceArray

__all__ = ["DeviceArrays", "GpuArrays", "from_dlpack", "holds_tensor", "import_torch", "joined", "to_host", "wait_for"]

Array = NDArray[Any]


def import_torch() -> ModuleType:
    """The module `torch`. Raises `EngineError` where it is not installed."""
    try:
        import torch
    except (ImportError, OSError) as error:
        raise EngineError(
            "torch",
            found=" ".join(str(error).split())[:200],
            expected="PyTorch, which holds arrays on the GPU",
            mend="pip install '.[gpu]' in lqhq's folder, or run with device 'cpu'.",
        ) from error
    return torch


def holds_tensor(feed: Mapping[str, Array | DeviceArray]) -> bool:
    """Whether any array is not NumPy's."""
    return not all(isinstance(array, np.ndarray) for array in feed.values())


def to_host(array: Array | DeviceArray) -> Array:
    """`array` as NumPy; on the CPU without a copy."""
    return array if isinstance(array, np.ndarray) else cast(Array, cast(Any, array).detach().cpu().numpy())


def joined(arrays: Sequence[Array | DeviceArray]) -> Array | DeviceArray:
    """All along the batch axis, on the device where any is there."""
    tensor = next((array for array in arrays if not isinstance(array, np.ndarray)), None)
    if tensor is None:
        return np.concatenate(cast(Sequence[Array], arrays))
    torch: Any = import_torch()
    return cast(DeviceArray, torch.cat([_tensor(torch, array).to(tensor.device) for array in arrays]))


def _tensor(torch: Any, array: Array | DeviceArray) -> Any:
    """`array` as a tensor; torch takes no reversed views, and warns of memory that it may not write to."""
    if not isinstance(array, np.ndarray):
        return array
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def from_dlpack(capsule: object) -> DeviceArray:
    """A tensor over memory that another library owns and frees when the tensor is gone."""
    import_torch()
    from torch.utils import dlpack

    return cast(DeviceArray, dlpack.from_dlpack(capsule))


def wait_for(tensor: DeviceArray) -> None:
    """Return when everything that was queued to write `tensor` is done: engines run on streams of their own."""
    if str(tensor.device).startswith("cuda"):
        import_torch().cuda.current_stream(tensor.device).synchronize()


class DeviceArrays(Protocol):
    """Memory of one GPU and one stream, on which everything below is queued in order."""

    @property
    def stream(self) -> int:
        """The CUDA stream's handle."""
        ...

    def active(self) -> AbstractContextManager[object]:
        """While it is entered, the GPU is the calling thread's own: engines ask for no other."""
        ...

    def empty(self, shape: tuple[int, ...]) -> DeviceArray:
        """A float32 array; its values are whatever was there."""
        ...

    def integers(self, shape: tuple[int, ...]) -> DeviceArray:
        """An int64 array; its values are whatever was there."""
        ...

    def reserve(self, size: int) -> DeviceArray:
        """`size` bytes."""
        ...

    def upload(self, array: Array | DeviceArray, into: DeviceArray) -> None:
        """Copy an array from anywhere into one of ours."""
        ...

    def download(self, array: DeviceArray) -> Array:
        """A copy in host memory, finished."""
        ...

    def copy(self, array: DeviceArray) -> DeviceArray: ...

    def capture(self, launch: Callable[[], None]) -> Callable[[], None]:
        """Record what `launch` queues as a CUDA graph; the result queues it again. Raises `EngineError`."""
        ...

    def wait(self) -> None:
        """Return when all that was queued is done. Raises `EngineError` where it failed."""
        ...


class GpuArrays:
    """`DeviceArrays` by torch. Raises `EngineError` where torch is missing or has no CUDA. Unverified on a GPU."""

    def __init__(self, ordinal: int) -> None:
        self._torch: Any = import_torch()
        if not self._torch.cuda.is_available():
            raise EngineError(
                "torch",
                found=f"PyTorch {self._torch.__version__}, which sees no GPU",
                expected="PyTorch with CUDA",
                mend="pip install --force-reinstall torch (not from the CPU index), or use engine 'onnx'.",
            )
        self._device = self._torch.device("cuda", ordinal)
        self._stream = self._torch.cuda.Stream(self._device)

    @property
    def stream(self) -> int:
        return int(self._stream.cuda_stream)

    def active(self) -> AbstractContextManager[object]:
        return cast(AbstractContextManager[object], self._torch.cuda.device(self._device))

    def empty(self, shape: tuple[int, ...]) -> DeviceArray:
        return self._allocate(shape, self._torch.float32)

    def integers(self, shape: tuple[int, ...]) -> DeviceArray:
        return self._allocate(shape, self._torch.int64)

    def reserve(self, size: int) -> DeviceArray:
        return self._allocate((size,), self._torch.uint8)

    def _allocate(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        try:
            with self._torch.cuda.stream(self._stream):
                return cast(DeviceArray, self._torch.empty(shape, dtype=dtype, device=self._device))
        except self._torch.cuda.OutOfMemoryError as error:
            raise EngineError(
                str(self._device),
                found=" ".join(str(error).split())[:200],
                expected=f"room for {shape} {dtype}".replace("torch.", ""),
                mend="Use a smaller --tile or batch, or close what else uses the GPU.",
            ) from error

    def upload(self, array: Array | DeviceArray, into: DeviceArray) -> None:
        source = _tensor(self._torch, array)
        if source.is_cuda:  # whoever made it may still be writing it on a stream of theirs
            self._stream.wait_stream(self._torch.cuda.current_stream(source.device))
        with self._torch.cuda.stream(self._stream):
            cast(Any, into).copy_(source, non_blocking=True)

    def download(self, array: DeviceArray) -> Array:
        with self._torch.cuda.stream(self._stream):
            return to_host(array)

    def copy(self, array: DeviceArray) -> DeviceArray:
        with self._torch.cuda.stream(self._stream):
            return cast(DeviceArray, cast(Any, array).clone())

    def capture(self, launch: Callable[[], None]) -> Callable[[], None]:
        graph = self._torch.cuda.CUDAGraph()
        self.wait()
        try:
            with self._torch.cuda.graph(graph, stream=self._stream):
                launch()
        except RuntimeError as error:
            raise self._failed("a CUDA graph that cannot be recorded", error) from error

        def replay() -> None:
            with self._torch.cuda.stream(self._stream):
                graph.replay()

        return replay

    def wait(self) -> None:
        try:
            self._stream.synchronize()
        except RuntimeError as error:
            raise self._failed("a failure on the GPU", error) from error

    def _failed(self, what: str, error: RuntimeError) -> EngineError:
        return EngineError(
            str(self._device),
            found=f"{what}: {' '.join(str(error).split())[:200]}",
            expected="the engine to run",
            mend="Use a smaller --tile; if it stays, run `lqhq doctor` and use engine 'onnx'.",
        )
