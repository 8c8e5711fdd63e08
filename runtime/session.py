"""The one contract of every engine: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import EngineError

__all__ = ["Feed", "Fetch", "Session", "fetched"]

Feed = Mapping[str, NDArray[np.float32]]
Fetch = dict[str, NDArray[np.float32]]


class Session(Protocol):
    """An opened graph. `run` is called from one thread at a time; closing twice is allowed."""

    def run(self, feed: Feed) -> Fetch:
        """Run the graph once. Raises `EngineError` when the engine fails."""
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
