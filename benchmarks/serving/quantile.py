"""Quantiles of latencies, and what a few hundred of them can say of a quantile far out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import ceil, exp, lgamma, log, log1p

from measuring.interval import LEVEL, Interval

__all__ = ["quantile", "quantile_interval"]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed. Raises `ValueError` without values."""
    if not values:
        raise ValueError("values: found none; expected at least one measurement")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def quantile_interval(values: Sequence[float], share: float, level: float = LEVEL) -> Interval:
    """The quantile and order statistics that enclose the true one with at least `level`, whatever the distribution.

    The number of n values below the true quantile is binomial(n, share), so the r-th smallest lies above it with
    probability P(X < r) (David and Nagaraja, Order Statistics, 2003, section 7.1); half of what `level` leaves is
    given to each side. Where there are too few values for a side its end is the least or the largest of them, and
    `coverage` says what that is worth.
    """
    ordered, count, beside = sorted(values), len(values), (1 - level) / 2
    middle = quantile(ordered, share)
    below = _cumulative(count, share)  # below[r] = P(X <= r)
    low = max((rank for rank in range(1, count + 1) if below[rank - 1] <= beside), default=1)
    high = min((rank for rank in range(1, count + 1) if 1 - below[rank - 1] <= beside), default=count)
    return Interval(middle, ordered[low - 1], ordered[high - 1], below[high - 1] - below[low - 1])


def _cumulative(count: int, share: float) -> list[float]:
    """P(X <= r) of a binomial(count, share) for r from 0 to count; by logarithms, since the factors leave floats."""
    n = count
    ways = [lgamma(n + 1) - lgamma(rank + 1) - lgamma(n - rank + 1) for rank in range(n + 1)]
    logs = (way + rank * log(share) + (n - rank) * log1p(-share) for rank, way in enumerate(ways))
    return list(accumulate(map(exp, logs)))
