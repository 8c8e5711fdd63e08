"""The requests that are open: their works are asked for as far as limits allow, and each ends exactly once."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Literal

from lqhq.runtime.errors import EngineError, LqhqError
from lqhq.runtime.job import Work
from lqhq.runtime.session import Fetch
from lqhq.server.batching.batch_key import BatchKey, Lane
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.entry import Entry, Rank, Ticket
from lqhq.server.batching.fair_order import FairOrder
from lqhq.server.batching.request import NEVER, Ending, Request
from lqhq.server.batching.waiting import Waiting
from lqhq.server.batching.window import Window

__all__ = ["OpenRequests"]

# What a source may raise without being wrong itself. Anything else ends its request as well, and is raised again.
EXPECTED = (LqhqError, MemoryError)


class OpenRequests:
    """Owns the entries. `held` works were asked for and are not back, of open requests and of ended ones."""

    def __init__(self, config: BatchingConfig, waiting: Waiting, order: FairOrder, window: Window) -> None:
        self._config, self._waiting, self._order, self._window = config, waiting, order, window
        self._entries: dict[Request, Entry] = {}
        self._hungry: dict[Entry, None] = {}  # who may have more ready; a set in order
        self._came = 0
        self.held = 0
        self.endings: deque[Ending] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, request: Request) -> Entry | None:
        return self._entries.get(request)

    def open(self, request: Request, now_ms: float) -> None:
        """Raises `ValueError` for a request that is open already."""
        if request in self._entries:
            raise ValueError(f"request {request.name} is open already")
        self._came += 1
        entry = Entry(request, Rank(request.level, 0.0, request.deadline_ms, self._came), now_ms)
        self._entries[request] = entry
        if request.source.finished:
            self.end(entry, "done")
        else:
            self._hungry[entry] = None

    def end(
        self,
        entry: Entry,
        kind: Literal["done", "failed", "expired", "cancelled"],
        error: BaseException | None = None,
    ) -> None:
        """Once: what waits is dropped now, what is out when it comes back."""
        if not entry.open:
            return
        entry.open = False
        self.held -= self._waiting.remove(entry)
        self._hungry.pop(entry, None)
        del self._entries[entry.request]
        self.endings.append(Ending(entry.request, kind, error))

    def expire(self, now_ms: float) -> float:
        """End those whose deadline has come; the earliest deadline of those that stay."""
        earliest = NEVER
        for entry in list(self._entries.values()):
            if entry.rank.deadline_ms <= now_ms:
                self.end(entry, "expired")
            else:
                earliest = min(earliest, entry.rank.deadline_ms)
        return earliest

    def pull(self, now_ms: float) -> None:
        """Ask sources for works, those first that are served first. Whoever holds none gets one whatever the total."""
        for entry in sorted(self._hungry, key=lambda entry: entry.rank):
            total = max(self._config.works - self.held, int(entry.held == 0))
            room = min(self._config.works_per_request - entry.held, total)
            if room <= 0:
                continue
            works = self._ready(entry, room)
            if not entry.open:
                continue
            if len(works) < room:
                del self._hungry[entry]
            if works:
                self._wait(entry, works, now_ms)
            elif not entry.held:
                self.end(entry, "failed", _stuck(entry))

    def back(self, ticket: Ticket) -> None:
        """A work came back, with or without a result, and is not given out again."""
        self.held -= 1
        ticket.entry.held -= 1
        if ticket.entry.open:
            self._hungry[ticket.entry] = None

    def done(self, ticket: Ticket, fetch: Fetch) -> bool:
        """Give the source what its work fetched; False where it refused. The request may end by it."""
        entry = ticket.entry
        self.back(ticket)
        try:
            entry.request.source.done(ticket.work, fetch)
            if entry.request.source.finished:
                self.end(entry, "done")
        except BaseException as error:
            self.end(entry, "failed", error)
            if not isinstance(error, EXPECTED):
                raise
            return False
        return True

    def _ready(self, entry: Entry, room: int) -> Sequence[Work]:
        try:
            return entry.request.source.ready(room)
        except BaseException as error:
            self.end(entry, "failed", error)
            if not isinstance(error, EXPECTED):
                raise
            return ()

    def _wait(self, entry: Entry, works: Sequence[Work], now_ms: float) -> None:
        if not entry.waiting:
            self._order.enter(entry, now_ms)
        lanes = [Lane(BatchKey.of(entry.request.model, work), 0) for work in works]
        for work, lane in zip(works, lanes, strict=True):
            self._waiting.add(Ticket(entry, work, lane, now_ms))
        for lane, count in Counter(lanes).items():
            self._window.arrived(lane.key, count, now_ms)
        entry.held += len(works)
        self.held += len(works)


def _stuck(entry: Entry) -> EngineError:
    return EngineError(
        f"request {entry.request.name}",
        found="nothing ready, nothing out, and no result",
        expected="work, until the image is finished",
        mend="This is a fault of lqhq; please report it with the bundle and the options.",
    )
