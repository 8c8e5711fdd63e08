"""When a failed call is made again: a clock, a budget of tries, and no call of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from lqhq.runtime.errors import OptionError
from lqhq.server.client.failures import Failure

__all__ = ["Attempts", "Retry"]

JITTER = 0.5  # of a pause: clients that failed together must not come back together


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How patient a client is.

    `tries` are calls that may fail because the server is away, at least 1; pauses double from `first_s` up to
    `longest_s`. A busy server says when to come back: it is asked again, however often, for `patience_s` from the first
    time on. Where it asks for more, its error is raised at once.
    """

    tries: int = 5
    first_s: float = 0.2
    longest_s: float = 5.0
    patience_s: float = 60.0

    def __post_init__(self) -> None:
        if self.tries < 1 or not 0 < self.first_s <= self.longest_s or not self.patience_s >= 0:
            raise OptionError(
                "retry",
                found=str(self),
                expected="tries from 1, 0 < first_s <= longest_s, patience_s from 0",
                mend="Use Retry(tries=1) for no second try.",
            )


class Attempts:
    """The tries of one request. `timeout_s` holds over all of them, pauses included; None: no end."""

    def __init__(
        self,
        retry: Retry,
        timeout_s: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if timeout_s is not None and not timeout_s > 0:
            raise OptionError(
                "timeout_s", found=str(timeout_s), expected="seconds above 0", mend="Leave it out for no deadline."
            )
        self._retry, self._clock, self._draw = retry, clock, draw
        self._end = None if timeout_s is None else clock() + timeout_s
        self._patient_until: float | None = None
        self._away = self.tries = 0

    def begin(self) -> float | None:
        """Count a try; returns the seconds that it may take. What has passed already is left to gRPC to say."""
        self.tries += 1
        return None if self._end is None else max(self._end - self._clock(), 0.001)

    def forget(self) -> None:
        """Count from none again: another kind of call begins. The deadline stays."""
        self._away = self.tries = 0

    def pause_after(self, failure: Failure) -> float | None:
        """Seconds to wait before the next try; None where there is none: then the failure is the answer."""
        if not failure.transient:
            return None
        now, end = self._clock(), self._end
        doublings = min(self.tries - 1, 30)  # more would pass what a float holds, and any `longest_s`
        backoff = min(self._retry.longest_s, self._retry.first_s * 2.0**doublings)
        if failure.retry_after_s is None:
            self._away += 1
            if self._away >= self._retry.tries:
                return None
            pause = backoff * (1 - JITTER * self._draw())
        else:
            if self._patient_until is None:
                self._patient_until = now + self._retry.patience_s
            pause = failure.retry_after_s + backoff * JITTER * self._draw()  # never before the server's time
            end = self._patient_until if end is None else min(end, self._patient_until)
        return None if end is not None and now + pause >= end else pause
