"""Keeps what was let in, so that no two requests are given the same room."""

from __future__ import annotations

from lqhq.server.admission.decision import Accepted, Limits, Rejected, decide
from lqhq.server.admission.predicted import Predicted
from lqhq.server.admission.reservation import Held, Reservation
from lqhq.server.batching.request import NEVER

__all__ = ["Ledger"]


class Ledger:
    """Room is reserved before an image is decoded, and held until the request is answered."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._held: dict[Reservation, None] = {}  # a set in order

    @property
    def held(self) -> Held:
        return Held(self._held)

    def reserve(
        self, predicted: Predicted, *, level: int, now_ms: float, deadline_ms: float = NEVER
    ) -> Accepted | Rejected:
        """Room for `predicted` at once, or why there is none."""
        refused = decide(
            predicted, level=level, deadline_ms=deadline_ms, now_ms=now_ms, held=self.held, limits=self.limits
        )
        if refused is not None:
            return refused
        reservation = Reservation(predicted, level)
        self._held[reservation] = None
        return Accepted(reservation)

    def release(self, reservation: Reservation) -> None:
        """The request has ended, however it did. Releasing twice is allowed."""
        self._held.pop(reservation, None)
