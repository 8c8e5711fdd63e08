"""What the batcher keeps of a request that is open, and of each work of it that was asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from lqhq.runtime.job import Work
from lqhq.server.batching.batch_key import BatchKey, Lane
from lqhq.server.batching.request import Request

__all__ = ["Batch", "Entry", "Lead", "Rank", "Ticket", "Wait"]


class Rank(NamedTuple):
    """The order of service, the least first; `number` counts requests as they came."""

    level: int
    start_ms: float  # of service, in the virtual time of the level
    deadline_ms: float
    number: int


@dataclass(slots=True, eq=False)
class Entry:
    """An open request. `held` are its works that were asked for and did not come back, waiting or `out`."""

    request: Request
    rank: Rank
    since_ms: float  # it has waited without service since then, unless works of it are `out`
    waiting: dict[Lane, deque[Ticket]] = field(default_factory=dict)  # lanes in the order in which they got work
    held: int = 0
    out: int = 0
    open: bool = True

    @property
    def lanes(self) -> list[Lane]:
        """Where it has work waiting; first what is to be run again, then what has waited longest."""
        return sorted(self.waiting, key=lambda lane: (not lane.apart, self.waiting[lane][0].ready_ms))


@dataclass(slots=True, eq=False)
class Ticket:
    """A work that was asked for. `charged_ms` is what it was counted as when it was last given out.

    Its request had waited since `since_ms` then.
    """

    entry: Entry
    work: Work
    lane: Lane
    ready_ms: float
    charged_ms: float = 0.0
    since_ms: float = 0.0
    retried: bool = False


class Lead(NamedTuple):
    """What forming a batch changed: the level's virtual time before, and whether it was the turn of the oldest."""

    level: int
    virtual_ms: float
    oldest: bool


class Batch(NamedTuple):
    """Works for one call of one session, in this order; the call has `size` samples, the last is repeated."""

    number: int
    key: BatchKey
    size: int
    tickets: tuple[Ticket, ...]
    lead: Lead

    @property
    def works(self) -> tuple[Work, ...]:
        return tuple(ticket.work for ticket in self.tickets)


class Wait(NamedTuple):
    """There is nothing to run before `until_ms`, unless something is submitted or comes back; infinite for never."""

    until_ms: float
