"""Who is served next: strict levels; within a level start-time fair queueing; ageing above both.

Start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queueing", SIGCOMM 1996, section 2), with a request as the
flow and the predicted milliseconds of its works as the length of its packets, all of one weight:

- a request that gets work ready has the start tag `S = max(v, F)`, `F` being where its last service ended (0 at first);
- service of `l` ms moves it to `F = S + l`; the least start tag is served first;
- `v` is the start tag of the request that was served last.

So no request that waits has a start tag below that of one which arrives, but for works that are given out once more:
each other request is served at most once before a new one, whatever is left of it. Requests of equal tags: the earliest
deadline first, then who came first.

Each level has a `v` of its own: a level that was held up by more urgent ones goes on where it stood, and its large
requests have no old claim on those that come. Ageing: who has waited `ageing_ms` without service is old. While somebody
is, every `share`-th batch at the latest is led by the one that has waited longest, so nothing starves, and a flood of
old requests cannot turn the levels round.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from lqhq.server.batching.entry import Entry, Lead

__all__ = ["FairOrder"]


class FairOrder:
    """The virtual times of the levels, and whose turn it is."""

    def __init__(self, *, ageing_ms: float, share: int) -> None:
        if ageing_ms < 0 or share < 2:
            raise ValueError(f"found ageing_ms {ageing_ms}, share {share}; expected 0 or more, 2 or more")
        self._ageing_ms, self._share = ageing_ms, share
        self._virtual: dict[int, float] = {}
        self._since_old = 0  # batches since the turn of the one that had waited longest
        self._oldest: Entry | None = None  # whose turn that is now

    def enter(self, entry: Entry, now_ms: float) -> None:
        """`entry` has work waiting now, and had none."""
        start = max(entry.rank.start_ms, self._virtual.get(entry.rank.level, 0.0))
        entry.rank, entry.since_ms = entry.rank._replace(start_ms=start), now_ms

    def lead(self, entry: Entry) -> Lead:
        """A batch is formed for `entry`, which was among the candidates; it is told before anything is served."""
        level, start, *_ = entry.rank
        lead = Lead(level, self._virtual.get(level, 0.0), entry is self._oldest)
        self._virtual[level] = max(lead.virtual_ms, start)
        self._since_old = 0 if lead.oldest else self._since_old + 1
        self._oldest = None
        return lead

    def withdraw(self, lead: Lead) -> None:
        """The batch was not run after all: who comes now is as early as if it had not been formed."""
        self._virtual[lead.level] = lead.virtual_ms
        self._since_old = self._share if lead.oldest else max(0, self._since_old - 1)

    def serve(self, entry: Entry, ms: float, now_ms: float) -> None:
        """`entry` is given service of `ms`."""
        entry.rank, entry.since_ms = entry.rank._replace(start_ms=entry.rank.start_ms + ms), now_ms

    def refund(self, entry: Entry, ms: float) -> None:
        """Service of `ms` was for nothing: `entry` stands where it would without it."""
        entry.rank = entry.rank._replace(start_ms=entry.rank.start_ms - ms)

    def old(self, entry: Entry, now_ms: float) -> bool:
        """Whether `entry`, which has work waiting and none out, has waited long enough to be served for that alone."""
        return not entry.out and now_ms - entry.since_ms >= self._ageing_ms

    def candidates(self, entries: Iterable[Entry], now_ms: float) -> Iterator[Entry]:
        """Of `entries`, which all have work waiting, those that may lead the next batch, the first the first.

        These are one level's alone, or one old request: who may not run yet is not overtaken from below.
        """
        waiting, self._oldest = list(entries), None
        if waiting and self._since_old + 1 >= self._share:
            old = [entry for entry in waiting if self.old(entry, now_ms)]
            if old:
                oldest = min(old, key=lambda entry: (entry.since_ms, entry.rank))
                self._oldest = oldest
                yield oldest
                return
        ranked = [(entry.rank, entry) for entry in waiting]
        heapq.heapify(ranked)  # ranks differ by their numbers, so entries are never compared
        level = ranked[0][0].level if ranked else 0
        while ranked and ranked[0][0].level == level:
            yield heapq.heappop(ranked)[1]
