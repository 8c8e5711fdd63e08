"""Windows sum to one over any plan, and are what the docstring says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lqhq.runtime.geometry import Size
from lqhq.runtime.tiles import plan_tiles
from lqhq.runtime.window import axis_weights


def total(length: int, side: int, starts: tuple[int, ...], weights: np.ndarray) -> np.ndarray:
    out = np.zeros(length)
    for start, row in zip(starts, weights, strict=True):
        out[start : start + side] += row
    return out


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 32))
def test_windows_sum_to_one_over_any_plan(length, side, overlap):
    overlap = min(overlap, side // 2)
    plan = plan_tiles(Size(length, length), Size(side, side), overlap=overlap, multiple=1)
    weights = axis_weights(length, plan.tile.width, overlap, plan.lefts)
    assert np.abs(total(length, plan.tile.width, plan.lefts, weights) - 1).max() < 1e-6
    assert weights.min() >= 0


def test_the_outer_quarter_of_an_overlap_is_the_neighbours():
    first, second = axis_weights(24, 16, 8, (0, 8))
    assert first[:8].tolist() == [1] * 8
    assert first[14:].tolist() == [0, 0]
    assert second[:2].tolist() == [0, 0]
    assert first[8:14].tolist() == second[2:8][::-1].tolist()


def test_canvas_edges_keep_their_weight():
    (only,) = axis_weights(16, 16, 8, (0,))
    assert only.tolist() == [1] * 16


def test_a_shifted_box_turns_the_sum_red():
    weights = axis_weights(24, 16, 8, (0, 8))
    assert np.abs(total(24, 16, (0, 7), weights) - 1).max() > 0.1
