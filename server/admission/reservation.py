"""What an accepted request takes, and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass

from lqhq.server.admission.predicted import Predicted

__all__ = ["Held", "Reservation"]


@dataclass(slots=True, eq=False)
class Reservation:
    """The share of a request in queue and memory. `done_works` is set as its works are done."""

    predicted: Predicted
    level: int
    done_works: int = 0

    @property
    def left(self) -> float:
        """The part of its works that is not done, in [0, 1]."""
        return max(0.0, 1 - self.done_works / max(1, self.predicted.works))

    @property
    def left_ms(self) -> float:
        """Milliseconds of one worker that it will still take."""
        return self.predicted.ms * self.left


class Held(tuple[Reservation, ...]):
    """All reservations at one moment."""

    __slots__ = ()

    @property
    def works(self) -> float:
        return sum(one.predicted.works * one.left for one in self)

    @property
    def bytes(self) -> int:
        """Of the whole requests: canvases are there until the answer is sent."""
        return sum(one.predicted.bytes for one in self)

    @property
    def left_ms(self) -> float:
        return sum(one.left_ms for one in self)

    def wait_ms(self, own_ms: float, level: int) -> float:
        """Worker time that is spent on others before a request of `own_ms` is done.

        Of more urgent requests all that is left; of its level as much as it takes itself at most, for service there is
        fair (`batching.fair_order`); of less urgent ones nothing, for ageing gives them little.
        """
        above = sum(one.left_ms for one in self if one.level < level)
        return above + sum(min(one.left_ms, own_ms) for one in self if one.level == level)
