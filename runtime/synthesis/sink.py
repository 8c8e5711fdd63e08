"""Where pairs go: what a folder of files and a row of shards have in common."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Literal, Protocol, Self

from lqhq.runtime.synthesis.pair import Pair, PairJob

__all__ = ["Sink", "State"]

State = Literal["kept", "open", "closed"]


class Sink(Protocol):
    """Takes pairs in the order of their jobs. A context manager, which leaves nothing half-written."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def state(self, job: PairJob) -> State:
        """Whether the pair is there and right ("kept"), to be made ("open"), or can no more be put in ("closed")."""
        ...

    def put(self, pair: Pair) -> None:
        """Write a pair. Raises `ImageError` where that fails; the pairs before it stay."""
        ...

    def finish(self, names: Iterable[str]) -> None:
        """Close what is open and write the manifest, its rows in the order of `names`. Raises `ImageError`."""
        ...
