"""The strength rule."""

from __future__ import annotations

import math

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.runtime.synthesis.strength import StrengthRange, check_strengths, steps_of


@pytest.mark.parametrize(
    ("nominal", "strength", "steps"),
    [
        (50, 0.0, 1),
        (50, 0.02, 1),
        (50, 0.0399, 1),
        (50, 0.04, 2),
        (50, 0.29, 14),  # the product is 14.499999999999998
        (100, 0.29, 28),
        (50, 0.58, 28),
        (50, math.nextafter(0.25, 0), 12),
        (50, 1.0, 50),
        (50, 2.0, 50),
    ],
)
def test_steps_are_cut_off_and_at_least_one(nominal, strength, steps):
    assert steps_of(strength, nominal) == steps


def test_shares_of_the_released_rule():
    """With a maximum of 0.2: one step for a fifth of all draws, two to nine for a tenth each, never ten."""
    draws = [StrengthRange(0.0, 0.2).at((k + 0.5) / 10_000) for k in range(10_000)]
    counts = [steps_of(strength, 50) for strength in draws]
    assert [counts.count(steps) for steps in range(1, 11)] == [2000] + [1000] * 8 + [0]


def test_a_range_is_never_left():
    low, high = 0.1, 0.1 + 2e-16
    strengths = StrengthRange(low, high)
    assert low <= strengths.at(0.0) <= strengths.at(1 - 2.0**-53) <= high
    assert StrengthRange(0.3, 0.3).at(0.7) == 0.3


@pytest.mark.parametrize("strengths", [(-0.1, 0.2), (0.2, 0.1), (0.0, 1.1), (math.nan, 0.2), (0.0, math.nan)])
def test_what_is_no_range_is_refused(strengths):
    with pytest.raises(OptionError, match="MIN:MAX"):
        check_strengths(StrengthRange(*strengths), nominal=50, schedules=50)


def test_more_steps_than_there_are_schedules_for():
    check_strengths(StrengthRange(0, 0.25), nominal=50, schedules=12)
    with pytest.raises(OptionError, match=r"MAX of 0\.24 or less"):
        check_strengths(StrengthRange(0, 0.26), nominal=50, schedules=12)
