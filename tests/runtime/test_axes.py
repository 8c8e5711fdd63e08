"""Axes as numbers."""

from __future__ import annotations

import pytest

from lqhq.runtime.axes import length_of, parse_axis, shape_of


def test_shape_of_resolves_axes_and_multiples() -> None:
    assert shape_of(("N", 3, "4H", "16W"), 2, 5, 7) == (2, 3, 20, 112)
    assert shape_of((1, 8), 2, 5, 7) == (1, 8)


@pytest.mark.parametrize(("axis", "parsed"), [("N", (1, "N")), ("8H", (8, "H")), ("16W", (16, "W")), ("h", None)])
def test_an_axis_is_a_letter_and_how_many_times(axis: str, parsed: tuple[int, str] | None) -> None:
    assert parse_axis(axis) == parsed


def test_a_multiple_follows_its_letter() -> None:
    assert length_of("8W", {"H": 3, "W": 5}) == 40
