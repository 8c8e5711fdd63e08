"""Works that wait to be given out, by lane and by request; nothing else knows where they lie."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from lqhq.server.batching.batch_key import Lane
from lqhq.server.batching.entry import Entry, Rank, Ticket

__all__ = ["Waiting"]


class Waiting:
    """Tickets of a lane are taken request by request; those of one request in the order in which they came."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, dict[Entry, deque[Ticket]]] = {}
        self._counts: dict[Lane, int] = {}
        self._entries: dict[Entry, None] = {}  # a set in order, so that nothing depends on addresses

    @property
    def entries(self) -> Iterable[Entry]:
        """Those that have work here."""
        return self._entries

    def count(self, lane: Lane) -> int:
        return self._counts.get(lane, 0)

    def lone(self, lane: Lane) -> bool:
        """Whether all that waits in the lane is of one request."""
        return len(self._lanes.get(lane, ())) == 1

    def add(self, ticket: Ticket, *, front: bool = False) -> None:
        """Behind the request's other works of the lane, or before them."""
        entry, lane = ticket.entry, ticket.lane
        if lane not in entry.waiting:
            entry.waiting[lane] = self._lanes.setdefault(lane, {})[entry] = deque()
        queue = entry.waiting[lane]
        (queue.appendleft if front else queue.append)(ticket)
        self._counts[lane] = self.count(lane) + 1
        self._entries[entry] = None

    def take(self, lane: Lane, first: Entry, count: int, charge_ms: float) -> list[Ticket]:
        """`count` tickets of the lane: one of `first`, then always of the request that comes first by rank.

        Each ticket moves its request by `charge_ms` here, so that a batch is shared as batches of one would be. Ranks
        themselves are left as they are.
        """
        tickets = [self._pop(first, lane)]
        entries = self._lanes.get(lane, {})
        ranked = [(entry.rank, entry) for entry in entries if entry is not first]
        if first in entries:
            ranked.append((_moved(first, charge_ms), first))
        heapq.heapify(ranked)
        moved: dict[Entry, float] = {first: charge_ms}
        while len(tickets) < count:
            _, entry = ranked[0]
            tickets.append(self._pop(entry, lane))
            moved[entry] = moved.get(entry, 0.0) + charge_ms
            if lane in entry.waiting:
                heapq.heapreplace(ranked, (_moved(entry, moved[entry]), entry))
            else:
                heapq.heappop(ranked)
        return tickets

    def remove(self, entry: Entry) -> int:
        """Take away all that waits of `entry`; how many works that were."""
        count = 0
        for lane in list(entry.waiting):
            while lane in entry.waiting:
                self._pop(entry, lane)
                count += 1
        return count

    def _pop(self, entry: Entry, lane: Lane) -> Ticket:
        queue = entry.waiting[lane]
        ticket = queue.popleft()
        self._counts[lane] -= 1
        if not queue:
            del entry.waiting[lane], self._lanes[lane][entry]
            if not self._lanes[lane]:
                del self._lanes[lane], self._counts[lane]
            if not entry.waiting:
                del self._entries[entry]
        return ticket


def _moved(entry: Entry, ms: float) -> Rank:
    return entry.rank._replace(start_ms=entry.rank.start_ms + ms)
