"""How often progress is told."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]

EVERY_S = 0.1


class Pace:
    """Ten times a second at most, and always at the end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_s = float("-inf")

    def due(self, *, last: bool) -> bool:
        """Whether to speak now; asking counts as having spoken."""
        now_s = self._clock()
        if not last and now_s - self._said_s < EVERY_S:
            return False
        self._said_s = now_s
        return True
