"""The median of a few measurements and its confidence interval, without assuming any distribution.

For n independent values the number below the true median is binomial(n, 1/2), so the k-th smallest and the k-th
largest value enclose it with probability 1 - 2 P(X < k) (David and Nagaraja, Order Statistics, 2003, section 7.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from statistics import median
from typing import NamedTuple

__all__ = ["LEVEL", "Interval", "median_interval"]

LEVEL = 0.95


class Interval(NamedTuple):
    """A median, and bounds that enclose the true one with probability `coverage`."""

    median: float
    low: float
    high: float
    coverage: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def median_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The narrowest order-statistic interval with at least `level` coverage.

    Below six values no interval reaches 95 %: then it is the range, and `coverage` says what that is worth.
    Raises `ValueError` without values.
    """
    if not values:
        raise ValueError("values: found none; expected at least one measurement")
    ordered, count = sorted(values), len(values)
    below, rank = 1 / 2**count, 1  # P(X < rank), and the rank from either end
    while rank < (count + 1) // 2 and 1 - 2 * (below + comb(count, rank) / 2**count) >= level:
        below += comb(count, rank) / 2**count
        rank += 1
    return Interval(median(ordered), ordered[rank - 1], ordered[-rank], 1 - 2 * below)
