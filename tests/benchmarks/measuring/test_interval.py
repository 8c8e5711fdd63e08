"""The interval covers what it says, and the narrowest one is taken."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from measuring.interval import LEVEL, Interval, median_interval

SEED = 5


@pytest.mark.parametrize(
    ("count", "rank"),  # from the table of ranks for 95 % in Conover, Practical Nonparametric Statistics
    [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (20, 6), (25, 8), (30, 10)],
)
def test_ranks_are_those_of_the_published_table(count: int, rank: int) -> None:
    found = median_interval([float(value) for value in range(1, count + 1)])
    assert (found.low, found.high) == (rank, count + 1 - rank)
    assert found.coverage == pytest.approx(1 - 2 * sum(comb(count, k) for k in range(rank)) / 2**count)
    assert found.coverage >= LEVEL
    narrower = found.coverage - 2 * comb(count, rank) / 2**count
    assert narrower < LEVEL  # a planted fault, one rank too wide, would fail here


def test_order_does_not_matter_and_the_median_is_the_middle() -> None:
    assert median_interval([5, 1, 4, 2, 3, 6]) == median_interval([1, 2, 3, 4, 5, 6])
    assert median_interval([1, 9, 2]).median == 2
    assert median_interval([4, 1, 2, 3]).median == 2.5


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_values_give_the_range_and_own_up(count: int) -> None:
    found = median_interval([float(value) for value in range(count)])
    assert (found.low, found.high) == (0, count - 1)
    assert found.coverage == 1 - 2 / 2**count < LEVEL


def test_no_values_are_an_error() -> None:
    with pytest.raises(ValueError, match="found none"):
        median_interval([])


def test_it_covers_the_true_median_as_often_as_it_says() -> None:
    draw = np.random.default_rng(SEED)
    found = [median_interval(list(draw.exponential(size=9))) for _ in range(4000)]
    inside = np.mean([interval.low <= np.log(2) <= interval.high for interval in found])
    assert inside == pytest.approx(found[0].coverage, abs=0.015)


def test_printed_form() -> None:
    assert str(Interval(1.234, 1.1, 1.3, 0.96)) == "1.23 [1.10, 1.30]"
