"""The tile batcher: which works run next, together, and what becomes of them when they come back.

It is pure: times are given to it, it starts nothing, and the same calls give the same batches. The rules:

- who is served first: `fair_order.py`; how long a batch waits to fill: `window.py`; its size: `batch_key.Sizes`;
- a batch has works of one key. It is led by who is served first; what is left of it goes to the others in their order,
  whatever their level: their works run where the session would compute padding;
- a request that expired or was cancelled has no more work given out; what is out is dropped when it comes back;
- works of a lost worker are given out once more, before the request's others; the second loss fails the request. The
  same where an engine failed with works of several requests. Second runs share their batch with no other request, so
  one whose works break engines fails alone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from lqhq.runtime.errors import EngineError
from lqhq.runtime.session import Fetch
from lqhq.server.batching.batch_key import Lane, Sizes, size_for
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.entry import Batch, Entry, Ticket, Wait
from lqhq.server.batching.fair_order import FairOrder
from lqhq.server.batching.open_requests import OpenRequests
from lqhq.server.batching.request import Ending, Request
from lqhq.server.batching.waiting import Waiting
from lqhq.server.batching.window import Window

__all__ = ["Batcher", "Counts"]


@dataclass(slots=True)
class Counts:
    """Works since the start: those `given` are in exactly one of the others once they are back.

    `lost` and `failed` with a batch (`failed` also: their source refused the result); `returned` unrun; `dropped`
    because the request had ended.
    """

    given: int = 0
    done: int = 0
    lost: int = 0
    failed: int = 0
    returned: int = 0
    dropped: int = 0


class Batcher:
    """Serves the requests of a pool of equal workers.

    `endings` is for the caller to empty: each submitted request comes there once.
    """

    def __init__(self, config: BatchingConfig, sizes: Sizes, book: CostBook) -> None:
        self._config, self._sizes, self._book = config, sizes, book
        self._waiting, self._window = Waiting(), Window(config.window_ms)
        self._order = FairOrder(ageing_ms=config.ageing_ms, share=config.ageing_share)
        self._requests = OpenRequests(config, self._waiting, self._order, self._window)
        self._out: dict[int, Batch] = {}
        self._formed = 0
        self.counts = Counts()

    @property
    def endings(self) -> deque[Ending]:
        return self._requests.endings

    @property
    def held(self) -> int:
        """Works that were asked of sources and are not back."""
        return self._requests.held

    def __len__(self) -> int:
        """Open requests."""
        return len(self._requests)

    def submit(self, request: Request, now_ms: float) -> None:
        """Open `request`. One whose deadline has come ends at the next `take`, before it is started."""
        self._requests.open(request, now_ms)

    def cancel(self, request: Request) -> bool:
        """End `request` at once; False where it had ended."""
        entry = self._requests.get(request)
        if entry is None:
            return False
        self._requests.end(entry, "cancelled")
        return True

    def take(self, now_ms: float) -> Batch | Wait:
        """The batch to run now, or until when there is none. Call it after every other call, and when `Wait` is over.

        What a source raises that is no `LqhqError` is raised again here, its request ended; the batcher goes on.
        """
        until = self._requests.expire(now_ms)
        self._requests.pull(now_ms)
        if len(self._out) >= self._config.batches_out:
            return Wait(until)
        for entry in self._order.candidates(self._waiting.entries, now_ms):
            for lane in entry.lanes:
                ripe = self._ripe_ms(entry, lane, now_ms)
                if ripe <= now_ms:
                    return self._formed_for(entry, lane, now_ms)
                until = min(until, ripe)
        return Wait(until)

    def done(self, batch: Batch, fetch: Fetch, ms: float, now_ms: float) -> None:
        """`batch` ran in `ms`; `fetch` holds `[size, ...]` each, padding included. Raises as `take` does."""
        left = deque(enumerate(self._back(batch)))
        self._book.measured(batch.key, batch.size, ms, now_ms)
        try:
            while left:
                index, ticket = left.popleft()
                ticket.entry.since_ms = now_ms
                if not ticket.entry.open:
                    self._drop(ticket)
                elif self._requests.done(ticket, {name: array[index : index + 1] for name, array in fetch.items()}):
                    self.counts.done += 1
                else:
                    self.counts.failed += 1
        finally:  # a source that broke its contract must not take its neighbours' works with it
            self._put_back([ticket for _, ticket in left])

    def failed(self, batch: Batch, error: BaseException) -> None:
        """The engine failed with `error`: the request fails, or where there are several, each is tried alone."""
        tickets = self._back(batch)
        alone = len({ticket.entry for ticket in tickets}) == 1
        for ticket in reversed(tickets):
            if not ticket.entry.open:
                self._drop(ticket)
                continue
            self.counts.failed += 1
            self._again(ticket, error if alone else None)

    def lost(self, batch: Batch) -> None:
        """The worker was lost while it ran `batch`."""
        for ticket in reversed(self._back(batch)):
            if not ticket.entry.open:
                self._drop(ticket)
                continue
            self.counts.lost += 1
            self._again(ticket, _lost(ticket) if ticket.retried else None)

    def returned(self, batch: Batch) -> None:
        """`batch` has not begun to run, and will not: all is as if it had not been given out."""
        self._order.withdraw(batch.lead)
        self._put_back(self._back(batch))

    def _ripe_ms(self, entry: Entry, lane: Lane, now_ms: float) -> float:
        """From when on a batch of the lane is given out, led by `entry`."""
        missing = self._sizes(lane.key)[-1] - self._waiting.count(lane)
        unhurried = missing > 0 and not lane.apart and not self._order.old(entry, now_ms)
        if not unhurried or (not self._out and len(self._requests) == 1):
            return now_ms
        ripe = entry.waiting[lane][0].ready_ms + self._window.wait_ms(lane.key, missing, now_ms)
        return now_ms if entry.rank.deadline_ms <= ripe else ripe

    def _formed_for(self, entry: Entry, lane: Lane, now_ms: float) -> Batch:
        sizes = self._sizes(lane.key)
        works = min(self._waiting.count(lane), sizes[-1])
        size = size_for(sizes, works)
        charge = self._book.call_ms(lane.key, size) / works
        lead = self._order.lead(entry)
        tickets = self._waiting.take(lane, entry, works, charge)
        for ticket in tickets:
            ticket.charged_ms, ticket.since_ms = charge, ticket.entry.since_ms
            ticket.entry.out += 1
        for ticket in tickets:
            self._order.serve(ticket.entry, charge, now_ms)
        self._formed += 1
        batch = self._out[self._formed] = Batch(self._formed, lane.key, size, tuple(tickets), lead)
        self.counts.given += works
        return batch

    def _back(self, batch: Batch) -> tuple[Ticket, ...]:
        if self._out.pop(batch.number, None) is None:
            raise ValueError(f"batch {batch.number} is not out")
        for ticket in batch.tickets:
            ticket.entry.out -= 1
        return batch.tickets

    def _drop(self, ticket: Ticket) -> None:
        self._requests.back(ticket)
        self.counts.dropped += 1

    def _again(self, ticket: Ticket, error: BaseException | None) -> None:
        """Give out once more, with no other request, or end the request with `error`."""
        if error is not None:
            self._requests.back(ticket)
            self._requests.end(ticket.entry, "failed", error)
            return
        ticket.retried, ticket.lane = True, Lane(ticket.lane.key, ticket.entry.rank.number)
        self._front(ticket)

    def _put_back(self, tickets: list[Ticket] | tuple[Ticket, ...]) -> None:
        for ticket in reversed(tickets):
            if not ticket.entry.open:
                self._drop(ticket)
                continue
            self.counts.returned += 1
            self._front(ticket)

    def _front(self, ticket: Ticket) -> None:
        self._order.refund(ticket.entry, ticket.charged_ms)
        ticket.entry.since_ms = min(ticket.entry.since_ms, ticket.since_ms)
        self._waiting.add(ticket, front=True)


def _lost(ticket: Ticket) -> EngineError:
    return EngineError(
        f"request {ticket.entry.request.name}",
        found=f"the worker lost twice while it ran {ticket.work.call.role}, tile {ticket.work.call.tile}",
        expected="a worker that lives",
        mend="Try again with a smaller tile; if it stays, the worker's log says what ended it.",
    )
