"""The one contract of every engine: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.errors import EngineError

__all__ = ["DeviceArray", "Feed", "Fetch", "Session", "fetched"]


class DeviceArray(Protocol):
    """What we ask of a torch tensor: the only device array that we know. `[N, ...]`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    @property
    def device(self) -> Any: ...

    def contiguous(self) -> Self: ...

    def data_ptr(self) -> int: ...


Feed = Mapping[str, NDArray[Any] | DeviceArray]  # float32; token ids: int64
# Of a session that keeps outputs on its device, these are device arrays; whoever asked for that passes them on unseen.
Fetch = dict[str, NDArray[np.float32]]


class Session(Protocol):
    """An opened graph. `run` is called from one thread at a time; closing twice is allowed.

    Feeds are float32 (token ids: int64) NumPy arrays or torch tensors, in any mixture; they need not be contiguous, and
    tensors that lie on another device are copied. Outputs are NumPy arrays, except those that `Setup.keep` names:
    they stay where the session computes, on a GPU as torch tensors, on the CPU as arrays of the kind that was fed
    (tensors where there is one in the feed). Every run gives arrays of its own: nothing that was fetched changes later.
    """

    @property
    def largest(self) -> int | None:
        """Side, in pixels of the graph's input, of the largest square that the engine takes; None for any."""
        ...

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The shapes that the engine was built for; empty for any."""
        ...

    def run(self, feed: Feed) -> Fetch:
        """Run the graph once. Raises `EngineError` for a feed that does not fit the graph, or when the engine fails."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def fetched(role: str, fetch: Fetch, name: str, shape: tuple[int, ...] | None = None) -> NDArray[np.float32]:
    """Output `name` of a graph that ran for one sample, without the batch axis.

    Raises `EngineError` where it is missing, or its shape is not `shape` where that is given.
    """
    if name not in fetch or (shape is not None and fetch[name].shape[1:] != shape):
        raise EngineError(
            role,
            found=f"outputs { {key: array.shape for key, array in fetch.items()} }",
            expected=name if shape is None else f"{name} of shape {(1, *shape)}",
            mend="The bundle's graph does not give what its manifest says; export the checkpoint again.",
        )
    sample: NDArray[np.float32] = fetch[name][0]
    return sample
