"""Windows sum to one over any plan, and are what the docstring says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqhq.runtime import window
from lqhq.runtime.geometry import Size
from lqhq.runtime.tiles import plan_tiles
from lqhq.runtime.window import axis_weights

GOLDEN = Path(__file__).parents[1] / "data/osediff-tiny/case-gaussian-weights.npz"


def total(length: int, side: int, starts: tuple[int, ...], weights: np.ndarray) -> np.ndarray:
    out = np.zeros(length)
    for start, row in zip(starts, weights, strict=True):
        out[start : start + side] += row
    return out


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 63), st.sampled_from(["ramp", "gaussian"]))
def test_windows_sum_to_one_over_any_plan(length, side, overlap, window):
    dense = window == "gaussian"
    overlap = min(overlap, side - 1 if dense else side // 2)
    plan = plan_tiles(Size(length, length), Size(side, side), overlap=overlap, multiple=1, dense=dense)
    shift = 0.5 if dense else 0.0
    weights = axis_weights(length, plan.tile.width, overlap, plan.lefts, window=window, shift=shift)
    assert weights.dtype == np.float32
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


def blended_weights(weights, size, overlap):
    """Of each tile of a plan, the literal two-dimensional window of the original over the sum of all: float64."""
    side = len(weights)
    plan = plan_tiles(Size(*size), Size(side, side), overlap=overlap, multiple=1, dense=True)
    boxes = [plan.box(index) for index in range(len(plan))]
    divisor = np.zeros(size)
    for box in boxes:
        divisor[box.rows, box.columns] += weights
    return plan, [weights / divisor[box.rows, box.columns] for box in boxes]


@pytest.mark.parametrize(
    ("name", "size", "overlap"),
    [("w16", (22, 29), 4), ("w16", (40, 17), 4), ("w11", (11, 36), 4), ("w11", (30, 40), 8)],
)
def test_the_goldens_in_two_dimensions_are_the_product_of_the_axes(golden, name, size, overlap):
    plan, expected = blended_weights(golden[name], size, overlap)
    rows = axis_weights(size[0], plan.tile.height, overlap, plan.tops, window="gaussian", shift=0.5)
    columns = axis_weights(size[1], plan.tile.width, overlap, plan.lefts, window="gaussian")
    worst = relative = 0.0
    for index, literal in enumerate(expected):
        row, column = divmod(index, len(plan.lefts))
        product = rows[row][:, None].astype(np.float64) * columns[column]
        worst = max(worst, np.abs(product - literal).max())
        relative = max(relative, (np.abs(product - literal) / literal).max())
    assert worst < 2e-7
    assert relative < 2e-7  # the smallest weights too, 1e-11 of the peak


@pytest.mark.parametrize(("name", "shift"), [("w96_row", 0.5), ("w96_col", 0.0)])
def test_the_golden_profiles_of_the_default_tile(golden, name, shift):
    g = golden[name]
    first, second = axis_weights(160, 96, 32, (0, 64), window="gaussian", shift=shift)
    divisor = g[64:] + g[:32]
    assert first[:64].tolist() == [1] * 64  # alone there, at the canvas's edge too
    assert first[64:] == pytest.approx(g[64:] / divisor, rel=1e-6)
    assert second[:32] == pytest.approx(g[:32] / divisor, rel=1e-6)
    symmetric = np.abs(first[64:] - second[:32][::-1]).max()
    assert symmetric < 1e-6 if shift == 0 else symmetric > 0.05


@pytest.fixture
def forgetful():
    """Weights that are remembered are forgotten before and after."""
    window._remembered.cache_clear()
    yield
    window._remembered.cache_clear()


@pytest.mark.parametrize("fault", ["axes swapped", "wrong spread"])
@pytest.mark.usefixtures("forgetful")
def test_a_wrong_gaussian_is_noticed(golden, fault, monkeypatch):
    if fault == "wrong spread":
        monkeypatch.setattr(window, "SPREAD", 0.02)
    g = golden["w96_row"]
    first, _ = axis_weights(160, 96, 32, (0, 64), window="gaussian", shift=0.5 if fault == "wrong spread" else 0.0)
    assert np.abs(first[64:] - g[64:] / (g[64:] + g[:32])).max() > 0.05
