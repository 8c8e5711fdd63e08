"""Between the batcher and the seats: batches go out, results come back, and what was not begun can be taken back."""

from __future__ import annotations

import time
import traceback

from lqhq.runtime.batch_feed import batch_feed
from lqhq.runtime.errors import EngineError
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.server.batching.batcher import Batcher
from lqhq.server.batching.entry import Batch, Wait
from lqhq.server.dispatch.catalogue import Catalogue
from lqhq.server.dispatch.observer import Log, Observer
from lqhq.server.dispatch.seat import Given, Seat
from lqhq.server.workers import messages as m
from lqhq.server.workers.failures import error_of
from lqhq.server.workers.packets import LostError
from lqhq.server.workers.worker import Worker

__all__ = ["Desk"]

LEAST_MS = 1e-6  # the book takes no time that is not positive


class Desk:
    """Owns what is out. A seat has one batch that runs and one that waits behind it, and can be withdrawn."""

    def __init__(
        self, batcher: Batcher, seats: tuple[Seat, ...], catalogue: Catalogue, *, observer: Observer, log: Log
    ) -> None:
        self._batcher, self._seats, self._catalogue = batcher, seats, catalogue
        self._observer, self._log = observer, log
        self._spare: list[tuple[Seat, Given]] = []  # withdrawn; their feeds are still there

    def fill(self, now_ms: float, *, changed: bool) -> float | None:
        """Give out batches while there is room for them; until when there is nothing to give.

        None says that there is, but no worker to give it to. `changed` says that what waits behind others may not be
        what should come next.
        """
        if changed:
            for seat in self._seats:
                if len(seat.given) > 1:
                    self._withdraw(seat)
        try:
            while True:
                batch = self._take(now_ms)
                if isinstance(batch, Wait):
                    if not self._rearranged():
                        return batch.until_ms
                elif not self._give(batch):
                    return None
        finally:
            for seat, given in self._spare:
                if seat.worker is not None:
                    seat.worker.spare(given.written)
            self._spare.clear()

    def back(self, seat: Seat, answer: m.Ran | m.Failed, now_ms: float) -> None:
        """A batch came back. Raises `LostError` for what cannot be, and what a source raises that is wrong itself."""
        given = seat.given.get(answer.number)
        if given is None or seat.worker is None:
            raise LostError(f"an answer to batch {answer.number}, which it has not")
        seat.busy_ms, seat.proven = now_ms, True
        if isinstance(answer, m.Failed):
            del seat.given[answer.number]
            seat.worker.spare(given.written)
            self._batcher.failed(given.batch, error_of(answer.failure))
            return
        try:
            self._put_away(seat, seat.worker, given, answer, now_ms)
        finally:
            seat.worker.settle(answer)

    def lost(self, seat: Seat) -> None:
        """Kill the worker of `seat`: what it had begun is lost, what it had not is as if it had not been sent."""
        assert seat.worker is not None
        unread = set(seat.worker.kill())
        for number in sorted(seat.given, reverse=True):
            batch = seat.given[number].batch
            if number in unread:
                self._batcher.returned(batch)
            else:
                self._batcher.lost(batch)
        seat.given.clear()

    def _take(self, now_ms: float) -> Batch | Wait:
        while True:
            try:
                return self._batcher.take(now_ms)
            except Exception:  # noqa: BLE001 -- its request has ended; the others go on
                self._log("source broken", trace=traceback.format_exc())

    def _put_away(self, seat: Seat, worker: Worker, given: Given, ran: m.Ran, now_ms: float) -> None:
        """In a frame of its own: nothing here may keep the outputs when it is asked who does."""
        fetch, batch = worker.fetched(ran), given.batch
        del seat.given[ran.number]
        worker.spare(given.written)
        began = time.perf_counter()
        wrong = {name: array.shape for name, array in fetch.items() if array.shape[:1] != (batch.size,)}
        if wrong or not fetch:
            self._batcher.failed(batch, _misshapen(batch, str(wrong or "none")))
            return
        self._batcher.done(batch, fetch, max(ran.ms, LEAST_MS), now_ms)
        out_ms = (time.perf_counter() - began) * 1e3
        self._observer.batch(batch.key, batch.size, len(batch.tickets), given.in_ms, ran.ms, out_ms)

    def _give(self, batch: Batch) -> bool:
        """Send `batch` to a seat that has the least to do; False, and it is returned, where none has room."""
        least = min((len(seat.given) for seat in self._seats if seat.room), default=None)
        if least is None:
            self._batcher.returned(batch)
            return False
        seats = [seat for seat in self._seats if seat.room and len(seat.given) == least]
        fed = next((one for one in self._spare if one[0] in seats and _same(one[1].batch, batch)), None)
        if fed is not None:
            self._spare.remove(fed)
            self._send(fed[0], fed[1]._replace(batch=batch))
            return True
        worker, began = seats[0].worker, time.perf_counter()
        assert worker is not None  # of a seat that has room
        try:
            written = worker.write(batch_feed(batch.works, batch.size))
        except Exception as error:  # noqa: BLE001 -- whatever a source raises is its request's end
            self._batcher.failed(batch, error)
            return True
        self._send(seats[0], Given(batch, written, (time.perf_counter() - began) * 1e3))
        return True

    def _send(self, seat: Seat, given: Given) -> None:
        batch = given.batch
        loaded = self._catalogue.find(batch.key.model)
        assert seat.worker is not None
        assert loaded is not None  # requests of models that go are ended before
        if not seat.given:
            seat.busy_ms = time.monotonic() * 1e3
        seat.given[batch.number] = given
        try:
            seat.worker.run(batch.number, loaded.number, batch.key.role, given.written, alone=_alone(batch))
        except LostError as error:
            seat.fault = str(error)

    def _rearranged(self) -> bool:
        """Whether a batch was withdrawn that should not stay where it is.

        Of one whose request has ended, the place is free; one that waits while a worker is idle goes there.
        """
        idle = any(seat.room and not seat.given for seat in self._seats)
        for seat in self._seats:
            if len(seat.given) < 2:
                continue
            last = next(reversed(seat.given.values()))
            ended = any(not ticket.entry.open for ticket in last.batch.tickets)
            if (idle or ended) and self._withdraw(seat):
                return True
        return False

    def _withdraw(self, seat: Seat) -> bool:
        assert seat.worker is not None
        try:
            numbers = seat.worker.withdraw()
        except LostError as error:
            seat.fault = str(error)
            return False
        for number in sorted(numbers, reverse=True):  # the batcher takes them back last come, first gone
            given = seat.given.pop(number)
            self._spare.append((seat, given))
            self._batcher.returned(given.batch)
        return bool(numbers)


def _same(one: Batch, other: Batch) -> bool:
    return one.tickets == other.tickets and one.size == other.size


def _alone(batch: Batch) -> bool:
    """Whether the plan of any of its images holds one engine at a time."""
    choices = (getattr(ticket.entry.request.source, "choice", None) for ticket in batch.tickets)
    return any(isinstance(choice, LatentChoice) and choice.alone for choice in choices)


def _misshapen(batch: Batch, found: str) -> EngineError:
    return EngineError(
        batch.key.role,
        found=f"outputs {found}",
        expected=f"outputs of {batch.size} samples each",
        mend="The bundle's graph does not give what its manifest says; export the checkpoint again.",
    )
