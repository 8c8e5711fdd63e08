"""Counts and sums."""

from __future__ import annotations

from lqhq.server.metrics.tally import Histogram, Spread, Tally
from lqhq.server.v2.statistics import Duration


def test_durations() -> None:
    tally = Tally()
    for seconds in (0.5, 0.0, 1e-9, -1.0):  # a clock that went back counts, and takes nothing away
        tally.add(seconds)
    assert tally.reading() == Duration(4, 500_000_001)


def test_a_value_on_a_bound_lies_below_it() -> None:
    spread = Spread((1.0, 2.0, 4.0))
    for value in (0.5, 1.0, 2.0, 3.0, 9.0):
        spread.add(value)
    assert spread.reading() == Histogram((1.0, 2.0, 4.0), (2, 3, 4), 5, 15.5)
