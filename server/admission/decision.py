"""Whether a request is let in. Pure: the same state gives the same answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lqhq.runtime.errors import LimitError, LqhqError, OptionError
from lqhq.server.admission.predicted import Predicted
from lqhq.server.admission.reservation import Held, Reservation
from lqhq.server.admission.sharing import Moment, Sharing

__all__ = ["Accepted", "Limits", "Rejected", "decide"]

# Of the hint when to come back: sooner would be a load itself; later, predictions are worth nothing.
LEAST_RETRY_MS, MOST_RETRY_MS = 100.0, 60_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What all accepted requests together may come to. `wait_ms` is how long one may expect to wait for the others.

    Raises `ValueError` for a limit that lets nothing in. `workers` share the work.
    """

    requests: int
    works: int
    bytes: int
    wait_ms: float
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("requests", "works", "bytes", "wait_ms", "workers"):
            if not getattr(self, name) > 0:
                raise ValueError(f"limits.{name}: found {getattr(self, name)}; expected more than 0")


class Accepted(NamedTuple):
    """Let in; release the reservation when the request has ended."""

    reservation: Reservation


class Rejected(NamedTuple):
    """Refused for `reason`. `retry_after_ms` is None where it would be refused on an idle server, too.

    Else it is when there will be room for this very request, if those that are held run as predicted and no others
    come; within `LEAST_RETRY_MS` and `MOST_RETRY_MS`.
    """

    reason: LqhqError
    retry_after_ms: float | None


def decide(
    predicted: Predicted, *, level: int, deadline_ms: float, now_ms: float, held: Held, limits: Limits
) -> Rejected | None:
    """None where there is room beside what is `held`.

    A deadline is refused only where the request could not meet it alone and at the best speed that was measured: what
    is merely unlikely is tried. An idle server takes any request that fits its limits, however long it may run.
    """
    return (
        _never_fits(predicted, limits)
        or _too_late(predicted, limits, deadline_ms - now_ms)
        or _no_room(predicted, level, held, limits)
    )


def _never_fits(predicted: Predicted, limits: Limits) -> Rejected | None:
    if predicted.bytes > limits.bytes:
        found, most = f"about {_mb(predicted.bytes)}", f"at most {_mb(limits.bytes)}"
        return Rejected(_limit("request memory", found, most, "Send a smaller image, or ask for smaller tiles."), None)
    if predicted.works > limits.works:
        found, most = f"{predicted.works} network calls", f"at most {limits.works}"
        return Rejected(_limit("request", found, most, "Send a smaller image, or take fewer steps."), None)
    return None


def _too_late(predicted: Predicted, limits: Limits, left_ms: float) -> Rejected | None:
    least = predicted.least_ms / limits.workers
    if left_ms > 0 and least <= left_ms:
        return None
    reason = OptionError(
        "timeout",
        found=f"{max(0.0, left_ms):.0f} ms",
        expected=f"at least {max(1.0, least):.0f} ms: what the request takes here with nobody beside it",
        mend="Give it more time, send a smaller image, or take fewer steps.",
    )
    return Rejected(reason, None)


def _no_room(predicted: Predicted, level: int, held: Held, limits: Limits) -> Rejected | None:
    sharing = Sharing(held, own_ms=predicted.ms, level=level, workers=limits.workers)
    over = _over(sharing.now, predicted, limits)
    if over is None:
        return None
    room_ms = sharing.first_ms(lambda moment: _over(moment, predicted, limits) is None)
    after = min(MOST_RETRY_MS, max(LEAST_RETRY_MS, room_ms))
    what, found, most = over
    mend = f"The server is busy; try again in about {after:.0f} ms."
    return Rejected(_limit("queue", f"{found:.0f} {what}", f"at most {most:.0f}", mend), after)


def _over(moment: Moment, predicted: Predicted, limits: Limits) -> tuple[str, float, float] | None:
    """What would be over its limit beside what is held at that moment: its name, how much, how much may be."""
    amounts = (
        ("requests", moment.requests + 1, limits.requests),
        ("network calls", moment.works + predicted.works, limits.works),
        ("bytes", moment.bytes + predicted.bytes, limits.bytes),
        ("ms to wait", moment.wait_ms, limits.wait_ms),
    )
    return next((amount for amount in amounts if amount[1] > amount[2]), None)


def _limit(where: str, found: str, expected: str, mend: str) -> LimitError:
    return LimitError(where, found=found, expected=expected, mend=mend)


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
