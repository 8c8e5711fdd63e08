"""What is asked of the batcher, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from lqhq.runtime.errors import OptionError
from lqhq.runtime.job import Work
from lqhq.runtime.session import Fetch
from lqhq.server.batching.batch_key import Model

__all__ = ["NEVER", "Ending", "Request", "WorkSource", "level_of"]

NEVER = float("inf")  # the deadline of those that have none


class WorkSource(Protocol):
    """Where works come from: a `Job`, or several of one request one after another. It raises `LqhqError` alone.

    A work's feed may be asked for again until the work is done: a worker may be lost with it.
    """

    @property
    def finished(self) -> bool: ...

    def ready(self, limit: int) -> Sequence[Work]:
        """Up to `limit` works that can run now, each given out once; fewer while the others depend on what is out."""
        ...

    def done(self, work: Work, fetch: Fetch) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """One image, or whatever else `source` makes, to be run on `model`.

    `level` is 1 for the most urgent (see `level_of`). Nothing of it is run from `deadline_ms` on.
    """

    name: str  # for the log
    model: Model
    source: WorkSource
    level: int
    deadline_ms: float = NEVER


class Ending(NamedTuple):
    """A request has ended, for good. `error` is there where it failed."""

    request: Request
    kind: Literal["done", "failed", "expired", "cancelled"]
    error: BaseException | None = None


def level_of(priority: int, *, levels: int, default: int) -> int:
    """The level of a request's `priority`: 1 is the most urgent, 0 asks for the `default`, as in the V2 protocol.

    Raises `OptionError` for one that is not there.
    """
    if not 0 <= priority <= levels:
        raise OptionError(
            "priority",
            found=str(priority),
            expected=f"1 (the most urgent) to {levels}, or 0 for the default, {default}",
            mend="Leave it out where there is no hurry.",
        )
    return priority or default
