"""The one contract of every engine: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Feed", "Fetch", "Session"]

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
