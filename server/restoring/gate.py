"""Lets requests in, or says no and when to come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lqhq.runtime.errors import LqhqError
from lqhq.server.admission.decision import Rejected
from lqhq.server.admission.ledger import Ledger
from lqhq.server.admission.predicted import predict
from lqhq.server.admission.reservation import Reservation
from lqhq.server.batching.batch_key import Sizes
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.request import level_of
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.restoring.ask import Ask
from lqhq.server.restoring.holding import Holding
from lqhq.server.restoring.planning import Plan
from lqhq.server.restoring.reasons import refusal_of
from lqhq.server.restoring.run import deadline_passed
from lqhq.server.v2.errors import OverloadError

__all__ = ["Admitted", "Gate"]


class Admitted(NamedTuple):
    """Close `holding` when the request has ended. Seconds are predicted, 0 where nothing was measured."""

    holding: Holding
    level: int
    works: int
    queue_s: float
    run_s: float


class Gate:
    """For one event loop. `requests` and `bytes` are those that are held now, for any thread."""

    def __init__(
        self,
        ledger: Ledger,
        book: CostBook,
        sizes: Sizes,
        config: ServeConfig,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._ledger, self._book, self._sizes = ledger, book, sizes
        self._config, self._clock = config, clock
        self._metrics = metrics
        self.requests = self.bytes = 0
        metrics.measure("accepted_requests", lambda: self.requests)
        metrics.measure("reserved_bytes", lambda: self.bytes)
        metrics.measure("budget_bytes", lambda: ledger.limits.bytes)

    def let_in(self, ask: Ask, plan: Plan, deadline_s: float) -> Admitted:
        """Room for `plan` at once. `deadline_s` is a time of the clock, infinite for none.

        Raises `OptionError`, `LimitError` for what can never be done here, `OverloadError` with the time to come back
        for what does not fit now, `DeadlineError`.
        """
        config, workers = self._config, self._ledger.limits.workers
        level = level_of(ask.urgency.priority, levels=config.priority_levels, default=config.default_priority)
        now_s = self._clock()
        if deadline_s <= now_s:
            raise deadline_passed(ask.id)
        predicted = predict(plan.calls, self._sizes, self._book, size_bytes=plan.bytes, now_ms=now_s * 1e3)
        wait_ms = self._ledger.held.wait_ms(predicted.ms, level)
        answer = self._ledger.reserve(predicted, level=level, now_ms=now_s * 1e3, deadline_ms=deadline_s * 1e3)
        if isinstance(answer, Rejected):
            raise self._refused(answer)
        self._count()
        known = all(self._book.knows(key) for key in plan.calls)
        return Admitted(
            Holding(answer.reservation, self._release, self._count),
            level,
            predicted.works,
            wait_ms / workers / 1e3,
            predicted.ms / workers / 1e3 if known else 0.0,
        )

    def _release(self, reservation: Reservation) -> None:
        self._ledger.release(reservation)
        self._count()

    def _count(self) -> None:
        held = self._ledger.held
        self.requests, self.bytes = len(held), held.bytes

    def _refused(self, rejected: Rejected) -> LqhqError:
        error = rejected.reason
        if rejected.retry_after_ms is not None:
            error = OverloadError(
                error.where,
                found=error.found,
                expected=error.expected,
                mend=error.mend,
                retry_after_ms=rejected.retry_after_ms,
            )
        self._metrics.refused(refusal_of(error))
        return error
