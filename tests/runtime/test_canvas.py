"""The canvas blends tiles of any plan, in any order, into the same bytes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lqhq.runtime.canvas import Canvas
from lqhq.runtime.geometry import Size
from lqhq.runtime.tiles import TilePlan, plan_tiles

PLANS = [
    plan_tiles(Size(40, 56), Size(16, 16), overlap=4, multiple=4),
    plan_tiles(Size(40, 56), Size(16, 24), overlap=8, multiple=4),
    plan_tiles(Size(16, 16), Size(16, 16), overlap=4, multiple=4),
    plan_tiles(Size(100, 8), Size(12, 8), overlap=0, multiple=4),
]


def blend(plan: TilePlan, image: np.ndarray, order: list[int]) -> np.ndarray:
    out = np.full_like(image, np.nan)
    tops: list[int] = []

    def sink(top: int, rows: np.ndarray) -> None:
        tops.append(top)
        out[:, top : top + rows.shape[1]] = rows

    canvas = Canvas(plan, len(image), sink)
    for index in order:
        box = plan.box(index)
        canvas.add(index, image[:, box.rows, box.columns].copy())
    assert canvas.complete
    assert tops == sorted(tops)
    return out


@pytest.mark.parametrize("plan", PLANS)
def test_tiles_of_one_image_blend_to_the_image(plan):
    image = np.random.default_rng(0).standard_normal((3, *plan.canvas)).astype(np.float32)
    assert blend(plan, image, list(range(len(plan)))) == pytest.approx(image, abs=1e-6)


@pytest.mark.parametrize("plan", PLANS)
def test_the_order_of_completion_does_not_change_a_byte(plan):
    image = np.random.default_rng(1).standard_normal((3, *plan.canvas)).astype(np.float32)
    image += np.random.default_rng(2).standard_normal(image.shape).astype(np.float32)
    expected = blend(plan, image, list(range(len(plan))))
    for seed in range(5):
        order = random.Random(seed).sample(range(len(plan)), len(plan))
        assert blend(plan, image, order).tobytes() == expected.tobytes()


def test_rows_leave_as_soon_as_they_are_final():
    plan = PLANS[0]
    seen: list[tuple[int, int]] = []
    canvas = Canvas(plan, 1, lambda top, rows: seen.append((top, rows.shape[1])))
    for index in range(len(plan)):
        canvas.add(index, np.zeros((1, *plan.tile), np.float32))
        if index == len(plan.lefts) - 1:
            assert seen == [(0, plan.tops[1])]
    assert sum(count for _, count in seen) == plan.canvas.height


def test_a_shifted_tile_is_seen():
    plan = PLANS[0]
    image = np.random.default_rng(0).standard_normal((1, *plan.canvas)).astype(np.float32)
    out = np.zeros_like(image)
    canvas = Canvas(plan, 1, lambda top, rows: out.__setitem__((0, slice(top, top + rows.shape[1])), rows[0]))
    for index in range(len(plan)):
        box = plan.box(index)
        tile = image[:, box.rows, box.columns].copy()
        canvas.add(index, np.roll(tile, 1, axis=2) if index == 2 else tile)
    assert np.abs(out - image).max() > 0.5


@pytest.mark.parametrize("index", [0, 99])
def test_a_tile_given_twice_or_unknown_is_refused(index):
    plan = PLANS[0]
    canvas = Canvas(plan, 1, lambda top, rows: None)
    canvas.add(0, np.zeros((1, *plan.tile), np.float32))
    with pytest.raises(ValueError, match="given before, or is not in the plan"):
        canvas.add(index, np.zeros((1, *plan.tile), np.float32))
