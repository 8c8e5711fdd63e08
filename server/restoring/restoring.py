"""Restores what is asked, from the request's arrival to its answer, and counts what became of it."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from lqhq.runtime.errors import LqhqError
from lqhq.server.access.caller import CALLER
from lqhq.server.admission.ledger import Ledger
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.models.models import Models
from lqhq.server.models.served_model import ServedModel
from lqhq.server.restoring.ask import Ask, Follower, Restored
from lqhq.server.restoring.gate import Gate
from lqhq.server.restoring.limits import bounds_of
from lqhq.server.restoring.passage import Passage, Way
from lqhq.server.restoring.pixel_threads import PixelThreads
from lqhq.server.restoring.plans import Plans
from lqhq.server.restoring.reasons import reason_of
from lqhq.server.restoring.run import Running, deadline_passed
from lqhq.server.v2.errors import OverloadError, UnavailableError, UnknownModelError

__all__ = ["Restoring"]

Log = Callable[..., None]  # log(event, **fields)
TRACE = 4000  # characters of a traceback that the log keeps, the last ones


class Restoring:
    """For one event loop. `clock` gives seconds, those of the dispatcher's deadlines."""

    def __init__(
        self,
        models: Models,
        dispatcher: Running,
        ledger: Ledger,
        book: CostBook,
        config: ServeConfig,
        metrics: Metrics,
        log: Log,
        *,
        pool: PixelThreads,
        batching: BatchingConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models, self._metrics, self._log, self._clock = models, metrics, log, clock
        self._way = Way(
            dispatcher=dispatcher,
            gate=Gate(ledger, book, models.sizes, config, metrics, clock),
            pool=pool,
            plans=Plans(bounds_of(config, ledger.limits, batching)),
            last_s=config.send_s,
            clock=clock,
        )
        self._draining = False
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def restore(self, ask: Ask, follower: Follower | None = None) -> Restored:
        """The result of `ask`; `follower` hears of it on the way. Cancelling the task cancels the request.

        Memory for the result is counted until the calling task has ended: it is to be the one that sends the answer.

        Raises `LqhqError`: what the runtime raises for images, options and engines, `UnknownModelError`,
        `UnavailableError` for a model or a server that takes nothing and for a request that waited too long,
        `OverloadError` where there is no room, `DeadlineError`; and what the follower raises.
        """
        if self._draining:
            self._metrics.refused("draining")
            raise _draining()
        with self._counted(), self._leased(ask) as served:
            return await self._restored(ask, served, follower)

    def drain(self) -> None:
        """Take no new requests."""
        self._draining = True

    async def idle(self, timeout_s: float) -> bool:
        """Wait until none is open, `timeout_s` at most; whether that came."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def _restored(self, ask: Ask, served: ServedModel, follower: Follower | None) -> Restored:
        arrived_s = self._clock()
        served.counters.arrived()
        try:
            async with _deadline(ask):
                restored = await Passage(self._way, ask, served, arrived_s).restored(follower)
        except BaseException as error:
            seconds = self._clock() - arrived_s
            served.counters.failed(reason_of(error), seconds)
            self._log("request ended", **_named(ask, served), seconds=round(seconds, 4), **_told(error))
            if isinstance(error, MemoryError):
                raise _no_memory() from error
            raise
        seconds, (_, outcome) = self._clock() - arrived_s, restored
        served.counters.succeeded(outcome.times, seconds)
        times = {name: round(spent, 4) for name, spent in outcome.times._asdict().items()}
        self._log("request done", **_named(ask, served), seconds=round(seconds, 4), works=outcome.works, **times)
        return restored

    @contextmanager
    def _leased(self, ask: Ask) -> Iterator[ServedModel]:
        leased = False
        try:
            with self._models.lease(ask.model, ask.version) as served:
                leased = True
                yield served
        except (UnavailableError, UnknownModelError):
            if not leased:
                self._metrics.refused("not_ready")
            raise

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._open += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()


@asynccontextmanager
async def _deadline(ask: Ask) -> AsyncIterator[None]:
    """The caller's deadline: wherever the request stands, it ends."""
    try:
        async with asyncio.timeout(ask.deadline_s) as scope:
            yield
    except TimeoutError:
        if not scope.expired():
            raise
        raise deadline_passed(ask.id) from None


def _named(ask: Ask, served: ServedModel) -> dict[str, Any]:
    named = {"id": ask.id, "model": served.name, "version": served.version}
    caller = CALLER.get()
    return {**named, "caller": caller} if caller else named


def _told(error: BaseException) -> dict[str, Any]:
    """For the log: all of what nobody expected, the text of the rest."""
    if isinstance(error, LqhqError | asyncio.CancelledError | MemoryError):
        return {"kind": type(error).__name__, "error": str(error)}
    return {"kind": type(error).__name__, "error": "".join(traceback.format_exception(error))[-TRACE:]}


def _draining() -> UnavailableError:
    return UnavailableError(
        "server",
        found="a server that is shutting down",
        expected="one that takes requests",
        mend="Send the request again; another server, or this one restarted, will take it.",
    )


def _no_memory() -> OverloadError:
    return OverloadError(
        "memory",
        found="none left on the server",
        expected="as much as the request was planned for",
        mend="Try again later, or with smaller tiles.",
    )
