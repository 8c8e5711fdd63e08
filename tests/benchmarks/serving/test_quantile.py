"""Quantiles are values that were measured; the interval covers the true one as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from measuring.interval import LEVEL, median_interval
from serving.quantile import quantile, quantile_interval

SEED = 20_261_204


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_quantile_is_the_least_value_that_so_many_do_not_exceed(share: float, expected: int) -> None:
    values = list(range(100, 0, -1))
    assert quantile(values, share) == expected


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="found none"):
        quantile([], 0.5)


def test_for_the_median_it_is_the_interval_of_the_median() -> None:
    values = [float(value) for value in np.random.default_rng(SEED).random(101)]
    ours, known = quantile_interval(values, 0.5), median_interval(values)
    assert (ours.low, ours.high) == (known.low, known.high)
    assert ours.coverage == pytest.approx(known.coverage)


@pytest.mark.parametrize(("share", "count"), [(0.5, 40), (0.9, 200), (0.99, 600)])
def test_it_covers_the_true_quantile(share: float, count: int) -> None:
    """Of uniform numbers, whose quantiles are known. The planted fault, a tenth of the width, does not."""
    draw, covered, narrow = np.random.default_rng(SEED), 0, 0
    for _ in range(300):
        found = quantile_interval([float(value) for value in draw.random(count)], share)
        covered += found.low <= share <= found.high
        narrow += abs(found.median - share) <= (found.high - found.low) / 20
    assert found.coverage >= LEVEL
    assert covered / 300 >= LEVEL - 0.04
    assert narrow / 300 < LEVEL - 0.04


def test_too_few_values_say_what_they_are_worth() -> None:
    found = quantile_interval([1.0, 2.0, 3.0], 0.99)
    assert (found.median, found.high) == (3.0, 3.0)
    assert found.coverage < 0.1


def test_many_values_are_no_trouble() -> None:
    assert quantile_interval([float(value) for value in range(5000)], 0.99).coverage == pytest.approx(LEVEL, abs=0.02)
