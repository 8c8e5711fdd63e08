"""Priorities as levels."""

from __future__ import annotations

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.server.batching.request import level_of


def test_zero_is_the_default_and_one_the_most_urgent():
    assert [level_of(priority, levels=4, default=3) for priority in range(5)] == [3, 1, 2, 3, 4]


@pytest.mark.parametrize("priority", [-1, 5])
def test_levels_that_are_not_there_are_refused(priority):
    with pytest.raises(OptionError, match="priority: found"):
        level_of(priority, levels=4, default=3)
