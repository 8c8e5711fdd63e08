"""The thread that brings works to workers."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from threading import Lock, Thread

from lqhq.runtime.errors import CancelledError
from lqhq.runtime.machine import give_back
from lqhq.server.batching.batch_key import Model, Sizes
from lqhq.server.batching.batcher import Batcher
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.request import Ending, Request
from lqhq.server.dispatch.catalogue import Catalogue, Loaded
from lqhq.server.dispatch.crew import Crew
from lqhq.server.dispatch.desk import Desk
from lqhq.server.dispatch.observer import Log, Observer
from lqhq.server.dispatch.patience import Patience
from lqhq.server.dispatch.reception import Ended, Reception
from lqhq.server.dispatch.seat import MOST_GIVEN, Seat, seat_names
from lqhq.server.dispatch.watch import Watch
from lqhq.server.workers import messages as m
from lqhq.server.workers.opening import Opened, Opening
from lqhq.server.workers.packets import LostError
from lqhq.server.workers.start import Start, start_worker
from lqhq.server.workers.worker import Worker

__all__ = ["Dispatcher", "clock_ms"]

FAULT_S = 0.05  # after a fault of ours, before the next turn: one that stays must not take a processor
LARGE_BYTES = 8 << 20  # of sheets: less is not worth giving back
PATIENCE = Patience()
LAST_S = 5.0  # for killed workers to go, when the server ends


def clock_ms() -> float:
    """The clock of deadlines: milliseconds, monotonic."""
    return time.monotonic() * 1e3


class Dispatcher:
    """Runs requests on a worker process per device. Its methods may be called from any thread.

    One thread of its own has the batcher, the sources of all open requests, and the workers. `Request.deadline_ms` are
    of `clock_ms`. `config.batches_out` is set here.
    """

    def __init__(
        self,
        devices: Sequence[str],
        *,
        config: BatchingConfig,
        sizes: Sizes,
        book: CostBook,
        observer: Observer,
        log: Log,
        patience: Patience = PATIENCE,
        start: Start = start_worker,
    ) -> None:
        self._seats = tuple(map(Seat, devices, seat_names(devices)))
        self._batcher = Batcher(replace(config, batches_out=MOST_GIVEN * len(self._seats)), sizes, book)
        self._catalogue = Catalogue(self._seats)
        self._reception = Reception(self._batcher, self._catalogue, log)
        self._desk = Desk(self._batcher, self._seats, self._catalogue, observer=observer, log=log)
        self._watch = Watch()
        self._crew = Crew(
            self._seats,
            self._catalogue,
            start=start,
            patience=patience,
            observer=observer,
            log=log,
            came=self._watch.add,
            gone=self._gone,
            broken=self._broken,
        )
        self._patience, self._log = patience, log
        self._inbox: deque[Callable[[float], None]] = deque()
        self._lock, self._closed, self._stopping = Lock(), False, False
        self._active_ms, self._rested = 0.0, True
        self._until_ms: float | None = 0.0
        self._thread = Thread(target=self._serve, name="dispatcher", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether there is a worker on every device, with all models open."""
        return all(seat.live for seat in self._seats)

    @property
    def pending(self) -> int:
        """Requests that are open, and whatever else was asked and not looked at yet."""
        return len(self._reception) + len(self._inbox)

    @property
    def works(self) -> int:
        """Works that were asked of their sources and are not done."""
        return self._batcher.held

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the worker processes that are there."""
        return tuple(worker.process.pid for seat in self._seats if (worker := seat.worker) is not None)

    def start(self) -> None:
        """Start the thread and the workers; what is asked before they are there waits."""
        self._thread.start()

    def close(self) -> None:
        """End all requests as cancelled, and the workers. Back when all are gone; closing twice is allowed."""
        self._post(self._stop)
        if self._thread.ident is None:
            self._shut()
        else:
            self._thread.join()

    def load(self, model: Model, opening: Opening) -> Future[Opened]:
        """Open a bundle as `model` in all workers, and in those that replace them, on each one's own device.

        The future cannot be cancelled. It raises what opening raises, `EngineError` where workers are lost meanwhile,
        `ValueError` for a model that is there, `CancelledError` where the dispatcher is closed.
        """
        future = Future[Opened]()
        future.set_running_or_notify_cancel()
        if not self._post(lambda now_ms: self._catalogue.load(model, opening, future)):
            future.set_exception(_closing())
        return future

    def unload(self, model: Model) -> Future[None]:
        """Close `model` in all workers; requests of it that are open fail. Done when it is gone everywhere."""
        future = Future[None]()
        future.set_running_or_notify_cancel()

        def unload(now_ms: float) -> None:
            self._reception.fail_all(model)
            self._catalogue.unload(model, future)

        if not self._post(unload):
            future.set_result(None)
        return future

    def submit(self, request: Request, ended: Ended) -> None:
        """Run `request`; `ended` is called once, on the dispatcher's thread, and is back soon.

        After `close` it is called here, with "cancelled".
        """
        if not self._post(lambda now_ms: self._reception.submit(request, ended, now_ms)):
            ended(Ending(request, "cancelled"))

    def cancel(self, request: Request) -> None:
        """End `request` as cancelled, if it is open."""
        self._post(lambda now_ms: self._reception.cancel(request))

    def _post(self, item: Callable[[float], None]) -> bool:
        with self._lock:
            if self._closed:
                return False
            self._inbox.append(item)
            self._watch.ring()
            return True

    def _serve(self) -> None:
        try:
            while not self._stopping:
                try:
                    self._turn()
                except Exception:  # noqa: BLE001 -- a fault of ours must not end the server
                    self._log("dispatcher fault", trace=traceback.format_exc())
                    time.sleep(FAULT_S)
        finally:
            self._shut()

    def _turn(self) -> None:
        """Wait until something happens, and do what follows from it. Workers first: they may have nothing to do."""
        for seat, worker, prints in self._watch.wait(self._wait_ms()):
            if prints:
                self._print(seat, worker.output.read())
                if worker.output.ended:
                    self._watch.drop_output(worker)
            else:
                self._hear(seat, worker)
        now_ms = clock_ms()
        while self._inbox:
            self._inbox.popleft()(now_ms)
        for seat in self._seats:
            self._see_to(seat, now_ms)
        self._crew.tend(now_ms)
        changed, self._reception.changed = self._reception.changed, False
        self._until_ms = self._desk.fill(now_ms, changed=changed)
        self._reception.tell()
        self._rest(now_ms)

    def _wait_ms(self) -> float:
        now_ms, until = clock_ms(), self._until_ms
        if until is None:  # there is work, and no worker for it: it may still expire
            until = self._reception.earliest_ms
        if not self._rested:
            until = min(until, self._active_ms + self._patience.idle_s * 1e3)
        if any(seat.fault for seat in self._seats):
            until = now_ms
        return min(until, self._crew.until_ms(now_ms)) - now_ms

    def _hear(self, seat: Seat, worker: Worker) -> None:
        """Read what a worker has to say."""
        while seat.worker is worker and not seat.fault:
            try:
                answer = worker.receive()
                if answer is None:
                    return
                if isinstance(answer, m.Ran | m.Failed):
                    self._desk.back(seat, answer, clock_ms())
                else:
                    self._crew.heard(seat, answer)
            except LostError as error:
                seat.fault = str(error)
            except Exception:  # noqa: BLE001 -- a source that is wrong itself: its request has ended
                self._log("source broken", trace=traceback.format_exc())

    def _print(self, seat: Seat, lines: list[str]) -> None:
        for line in lines:
            self._log("worker says", device=seat.device, line=line)

    def _see_to(self, seat: Seat, now_ms: float) -> None:
        """Send a worker its next order; give it up where it does not do what it should."""
        if seat.worker is None:
            return
        try:
            self._crew.ask(seat, now_ms)
        except LostError as error:
            seat.fault = str(error)
        seat.fault = seat.fault or self._crew.overdue(seat, now_ms) or ""
        if seat.fault:
            self._watch.drop_answers(seat.worker)
            self._desk.lost(seat)
            self._crew.lost(seat, seat.fault, now_ms)

    def _rest(self, now_ms: float) -> None:
        """Give memory back that large tensors took, when nothing has run for a while."""
        if self._reception or any(seat.given for seat in self._seats):
            self._active_ms, self._rested = now_ms, False
            return
        if self._rested or now_ms - self._active_ms < self._patience.idle_s * 1e3:
            return
        self._rested = True
        for seat in self._seats:
            if seat.live and seat.worker is not None and seat.worker.held_bytes > LARGE_BYTES:
                try:
                    seat.worker.trim()
                except LostError as error:
                    seat.fault = str(error)
        give_back()

    def _broken(self, loaded: Loaded) -> None:
        self._reception.fail_all(loaded.model, loaded.error)

    def _gone(self, seat: Seat, worker: Worker) -> None:
        """Its process has ended: read what it printed last."""
        self._watch.drop_output(worker)
        self._print(seat, worker.output.close())

    def _stop(self, now_ms: float) -> None:
        self._stopping = True

    def _shut(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        while self._inbox:
            self._inbox.popleft()(clock_ms())
        self._reception.cancel_all()
        self._reception.tell()
        self._catalogue.close(_closing())
        for seat in self._seats:
            if seat.worker is not None:
                self._watch.drop_answers(seat.worker)
                self._desk.lost(seat)
                seat.vacate()
        for seat in self._seats:
            if seat.dying is not None:
                if seat.dying.reap(LAST_S) is None:
                    self._log("worker does not end", device=seat.device, pid=seat.dying.process.pid)
                self._gone(seat, seat.dying)
                seat.dying = None
        self._watch.close()


def _closing() -> CancelledError:
    return CancelledError(
        "server",
        found="its end",
        expected="a server that goes on",
        mend="Start it again.",
    )
