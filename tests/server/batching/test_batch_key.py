"""Sizes of batches."""

from __future__ import annotations

import pytest

from lqhq.server.batching.batch_key import fixed_size, size_for


def test_one_size_for_all(key):
    assert fixed_size(4)(key()) == (4,)


def test_the_least_size_that_holds_the_works():
    assert [size_for((1, 2, 8), works) for works in (1, 2, 3, 8)] == [1, 2, 8, 8]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        fixed_size(0)
    with pytest.raises(ValueError, match="at most 8"):
        size_for((1, 8), 9)
