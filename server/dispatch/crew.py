"""Keeps a worker on every device, with all models open in it."""

from __future__ import annotations

from collections.abc import Callable

from lqhq.runtime.errors import EngineError
from lqhq.server.batching.request import NEVER
from lqhq.server.dispatch.catalogue import Catalogue, Loaded
from lqhq.server.dispatch.observer import Log, Observer
from lqhq.server.dispatch.patience import Patience
from lqhq.server.dispatch.seat import Seat
from lqhq.server.workers import messages as m
from lqhq.server.workers.failures import error_of
from lqhq.server.workers.packets import LostError
from lqhq.server.workers.start import Start
from lqhq.server.workers.worker import Worker

__all__ = ["Crew"]

REAP_MS = 5.0  # between two looks at a worker that was killed: it is gone within some
VAIN_STARTS = 3  # workers of a device that never listened, after which whoever waits for a model is told


class Crew:
    """Starts and replaces workers, and has them open and close what the catalogue says.

    `came` is told of a worker that is to be listened to, `gone` of one whose process has ended, `broken` of a model
    whose requests cannot be run.
    """

    def __init__(
        self,
        seats: tuple[Seat, ...],
        catalogue: Catalogue,
        *,
        start: Start,
        patience: Patience,
        observer: Observer,
        log: Log,
        came: Callable[[Seat, Worker], None],
        gone: Callable[[Seat, Worker], None],
        broken: Callable[[Loaded], None],
    ) -> None:
        self._seats, self._catalogue, self._start, self._patience = seats, catalogue, start, patience
        self._observer, self._log, self._came, self._gone, self._broken = observer, log, came, gone, broken

    def heard(self, seat: Seat, answer: m.Answer) -> None:
        """An answer that is not about a batch. Raises `LostError` for one that nobody asked for."""
        asked, seat.asked = seat.asked, None
        match answer:
            case m.Hello() if not seat.listens:
                seat.listens = True
                self._catalogue.listens(seat)
            case m.OpenedModel() if isinstance(asked, m.Open) and asked.model == answer.model:
                self._greet(seat)  # first: whoever waits for the model may ask at once whether all are live
                self._catalogue.opened(seat, answer.model, answer.opened)
            case m.NotOpened() if isinstance(asked, m.Open) and asked.model == answer.model:
                self._greet(seat)
                error = error_of(answer.failure)
                self._log("model not opened", worker=seat.name, error=str(error))
                self._break(self._catalogue.not_opened(answer.model, error))
            case m.Closed() if isinstance(asked, m.Close) and asked.model == answer.model:
                self._catalogue.closed(seat, answer.model)
            case m.Trimmed():
                seat.asked = asked
            case _:
                seat.asked = asked
                raise LostError(f"an answer that nobody asked for ({type(answer).__name__})")

    def lost(self, seat: Seat, reason: str, now_ms: float) -> None:
        """The worker of `seat`, which is killed, is to be replaced; its batches have been dealt with."""
        patience = self._patience
        self._break(self._catalogue.lost(seat))
        # One that worked is replaced at once, and so is the first that did not: it may have been an accident.
        lived = seat.proven or now_ms - seat.started_ms >= patience.most_again_s * 1e3
        seat.early_losses = 0 if lived else seat.early_losses + 1
        wait_s = patience.again_s * 2 ** (seat.early_losses - 2) if seat.early_losses > 1 else 0.0
        seat.again_ms = now_ms + min(wait_s, patience.most_again_s) * 1e3
        self._log("worker lost", worker=seat.name, reason=reason, again_s=(seat.again_ms - now_ms) / 1e3)
        self._observer.worker_lost(seat.name, reason)
        if not seat.listens and seat.early_losses >= VAIN_STARTS:
            self._catalogue.refuse(_vain(seat, reason))
        seat.vacate()

    def tend(self, now_ms: float) -> None:
        """Do what is due: take leave of the dead, start who is missing, send the next order."""
        for seat in self._seats:
            if seat.dying is not None and (how := seat.dying.reap()) is not None:
                self._gone(seat, seat.dying)
                self._log("worker ended", device=seat.device, how=how)
                seat.dying = None
            if seat.worker is None and seat.dying is None and seat.again_ms <= now_ms:
                self._take_on(seat, now_ms)

    def ask(self, seat: Seat, now_ms: float) -> None:
        """Send the next order where the last is answered; a worker that has opened everything is live.

        Raises `LostError`.
        """
        if not seat.listens or seat.asked is not None or seat.worker is None:
            return
        if seat.orders:
            seat.asked, seat.asked_ms = seat.orders.popleft(), now_ms
            seat.worker.order(seat.asked)
        else:
            self._greet(seat)

    def overdue(self, seat: Seat, now_ms: float) -> str | None:
        """What the worker of `seat` has not done in time."""
        due = self._due(seat)
        found = next((what for what, at_ms in due.items() if at_ms <= now_ms), None)
        return None if found is None else f"no answer in time: {found}"

    def until_ms(self, now_ms: float) -> float:
        """When there is something to do, if nothing happens before."""
        times = [NEVER]
        for seat in self._seats:
            if seat.dying is not None:
                times.append(now_ms + REAP_MS)
            elif seat.worker is None:
                times.append(seat.again_ms)
            times += self._due(seat).values()
        return min(times)

    def _greet(self, seat: Seat) -> None:
        """A worker that has opened everything is live."""
        if seat.worker is not None and not seat.live and not seat.orders:
            seat.live = True
            self._log("worker ready", worker=seat.name, pid=seat.worker.process.pid)
            self._observer.worker_ready(seat.name)

    def _due(self, seat: Seat) -> dict[str, float]:
        if seat.worker is None:
            return {}
        due = {}
        if not seat.listens:
            due["starting"] = seat.started_ms + self._patience.start_s * 1e3
        if seat.asked is not None:
            due[f"{type(seat.asked).__name__.lower()} a model"] = seat.asked_ms + self._patience.open_s * 1e3
        if seat.given:
            due["running a batch"] = seat.busy_ms + self._patience.run_s * 1e3
        return due

    def _take_on(self, seat: Seat, now_ms: float) -> None:
        seat.started_ms = now_ms
        try:
            seat.worker = Worker(self._start)
        except OSError as error:
            seat.early_losses += 1
            seat.again_ms = now_ms + self._patience.most_again_s * 1e3
            self._log("worker not started", worker=seat.name, error=str(error))
            self._catalogue.refuse(_vain(seat, str(error)))
            return
        self._came(seat, seat.worker)

    def _break(self, loaded: Loaded | None) -> None:
        if loaded is not None:
            self._broken(loaded)


def _vain(seat: Seat, reason: str) -> EngineError:
    return EngineError(
        f"worker of {seat.device}",
        found=f"no process that listens: {reason}",
        expected="one that starts",
        mend="The server's log has what it printed; run `lqhq doctor`.",
    )
