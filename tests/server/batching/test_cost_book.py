"""What calls cost: measured, told from other shapes, or a start value."""

from __future__ import annotations

import pytest

from lqhq.server.batching.cost_book import CostBook


def test_a_start_value_grows_with_pixels_and_size(key):
    book = CostBook()
    assert 0 < book.call_ms(key(0), 1) < book.call_ms(key(64), 1) < book.call_ms(key(64), 4) < book.call_ms(key(256), 4)


def test_what_was_measured_is_expected(key):
    book = CostBook()
    for _ in range(9):
        book.measured(key(), 4, 12.0, 0.0)
    assert book.call_ms(key(), 4) == pytest.approx(12.0)


def test_the_mean_follows_a_machine_that_slows_down(key):
    book = CostBook()
    for ms in [10.0] * 50 + [20.0] * 50:
        book.measured(key(), 1, ms, 0.0)
    assert book.call_ms(key(), 1) == pytest.approx(20.0, rel=0.01)


def test_other_shapes_of_a_role_are_told_by_pixels(key):
    book = CostBook()
    book.measured(key(16), 2, 8.0, 0.0)
    assert book.call_ms(key(32), 1) == pytest.approx(16.0)
    assert book.call_ms(key(32, "decode"), 1) == CostBook().call_ms(key(32, "decode"), 1)


def test_the_least_is_told_only_where_it_can_be_trusted(key):
    book = CostBook()
    for count, ms in enumerate([90.0, 9.0, 11.0]):
        assert book.least_ms(key(), 1, 0.0) == 0.0, count
        book.measured(key(), 1, ms, 0.0)
    assert book.least_ms(key(), 1, 60_000.0) == 9.0
    assert book.least_ms(key(), 1, 60_001.0) == 0.0  # measured too long ago
    assert book.least_ms(key(), 2, 0.0) == 0.0


def test_a_time_that_is_not_positive_is_refused(key):
    for ms in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="more than 0"):
            CostBook().measured(key(), 1, ms, 0.0)


def test_a_role_is_known_once_any_of_its_calls_was_measured(key):
    book = CostBook()
    assert not book.knows(key(16))
    book.measured(key(16), 2, 8.0, 0.0)
    assert book.knows(key(32))
    assert not book.knows(key(32, "decode"))
