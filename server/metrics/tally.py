"""Counts and sums that grow: of durations, and of values by size."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from lqhq.server.v2.statistics import Duration

__all__ = ["Histogram", "Spread", "Tally"]


class Tally:
    """How often, and how long in all. Not safe for threads: its owner has a lock."""

    __slots__ = ("count", "ns")

    def __init__(self) -> None:
        self.count = 0
        self.ns = 0  # whole, so that sums over months lose nothing

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += max(0, round(seconds * 1e9))

    def reading(self) -> Duration:
        return Duration(self.count, self.ns)


class Histogram(NamedTuple):
    """A reading: the upper bounds, how many values lay at or below each, how many there were, and their sum."""

    bounds: tuple[float, ...]
    up_to: tuple[int, ...]
    values: int
    total: float


class Spread:
    """Values by size, for a histogram with fixed ascending upper bounds. Not safe for threads."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)  # the last: above all bounds
        self._total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def reading(self) -> Histogram:
        up_to, seen = [], 0
        for count in self._counts:
            seen += count
            up_to.append(seen)
        return Histogram(self._bounds, tuple(up_to[:-1]), seen, self._total)
