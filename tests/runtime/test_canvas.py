"""The canvas blends tiles of any plan, in any order, into the same bytes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.canvas import Canvas
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.tiles import TilePlan, plan_tiles

GOLDEN = Path(__file__).parents[1] / "data/osediff-tiny"
PLANS = [
    plan_tiles(Size(40, 56), Size(16, 16), overlap=4, multiple=4),
    plan_tiles(Size(40, 56), Size(16, 24), overlap=8, multiple=4),
    plan_tiles(Size(16, 16), Size(16, 16), overlap=4, multiple=4),
    plan_tiles(Size(100, 8), Size(12, 8), overlap=0, multiple=4),
]


def blend(plan: TilePlan, image: np.ndarray, order: list[int], window: str = "ramp") -> np.ndarray:
    out = np.full_like(image, np.nan)
    tops: list[int] = []

    def sink(top: int, rows: np.ndarray) -> None:
        tops.append(top)
        out[:, top : top + rows.shape[1]] = rows

    canvas = Canvas(plan, len(image), sink, window)
    for index in order:
        box = plan.box(index)
        canvas.add(index, image[:, box.rows, box.columns].copy())
    assert canvas.complete
    assert tops == sorted(tops)
    return out


@pytest.mark.parametrize("window", ["ramp", "gaussian"])
@pytest.mark.parametrize("plan", PLANS)
def test_tiles_of_one_image_blend_to_the_image(plan, window):
    image = np.random.default_rng(0).standard_normal((3, *plan.canvas)).astype(np.float32)
    assert blend(plan, image, list(range(len(plan))), window) == pytest.approx(image, abs=1e-6)


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


@pytest.mark.parametrize("plan", PLANS)
def test_boxes_cover_the_canvas_once_with_the_bytes_of_rows(plan):
    image = np.random.default_rng(3).standard_normal((3, *plan.canvas)).astype(np.float32)
    image += np.random.default_rng(4).standard_normal(image.shape).astype(np.float32)
    order = random.Random(5).sample(range(len(plan)), len(plan))
    out, count = np.full_like(image, np.nan), np.zeros(plan.canvas, int)

    def store(box: Box, part: np.ndarray) -> None:
        assert part.shape[1:] == box.size
        out[:, box.rows, box.columns] = part
        count[box.rows, box.columns] += 1

    canvas = Canvas(plan, 3, lambda top, rows: pytest.fail("rows as well"), boxes=store)
    for index in order:
        box = plan.box(index)
        canvas.add(index, image[:, box.rows, box.columns].copy())
    assert count.min() == count.max() == 1
    assert out.tobytes() == blend(plan, image, order).tobytes()


def test_a_box_leaves_as_soon_as_it_is_final():
    """No tile that is still to come touches it. Planted: the whole tile does not pass."""
    plan = PLANS[1]
    seen: list[Box] = []
    canvas = Canvas(plan, 1, lambda top, rows: None, boxes=lambda box, part: seen.append(box))
    for index in range(len(plan)):
        canvas.add(index, np.zeros((1, *plan.tile), np.float32))
        assert len(seen) == index + 1
        later = [plan.box(other) for other in range(index + 1, len(plan))]
        assert not any(overlapping(seen[-1], other) for other in later)
    assert overlapping(plan.box(0), plan.box(1))


def overlapping(one: Box, other: Box) -> bool:
    return one.top < other.bottom and other.top < one.bottom and one.left < other.right and other.left < one.right


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


def gaussian_plan(height: int, width: int, side: int, overlap: int) -> TilePlan:
    return plan_tiles(Size(height, width), Size(side, side), overlap=overlap, multiple=1, dense=True)


def collected(plan: TilePlan, tiles: list[np.ndarray], window: str) -> np.ndarray:
    out = np.full((len(tiles[0]), *plan.canvas), np.nan, np.float32)
    canvas = Canvas(plan, len(out), lambda top, rows: out[:, top : top + rows.shape[1]].__setitem__(..., rows), window)
    for index, tile in enumerate(tiles):
        canvas.add(index, tile.astype(np.float32))
    return out


def literal(plan: TilePlan, tiles: list[np.ndarray]) -> np.ndarray:
    """The original's blend: sums in two dimensions, float64, and a division at the end; columns first."""
    side = plan.tile.height
    place = np.arange(side)
    drop = np.exp(-((place - side / 2) ** 2) / (2 * 0.01 * side**2))
    right = np.exp(-((place - (side - 1) / 2) ** 2) / (2 * 0.01 * side**2))
    window = drop[:, None] * right / (2 * np.pi * 0.01)
    total, weight = np.zeros((len(tiles[0]), *plan.canvas)), np.zeros(plan.canvas)
    for column in range(len(plan.lefts)):
        for row in range(len(plan.tops)):
            index = row * len(plan.lefts) + column
            box = plan.box(index)
            total[:, box.rows, box.columns] += tiles[index] * window
            weight[box.rows, box.columns] += window
    return total / weight


@pytest.mark.parametrize(
    "shape", [(22, 29, 16, 4), (12, 36, 12, 4), (40, 100, 40, 32), (40, 90, 24, 0), (128, 128, 96, 32), (5, 5, 9, 2)]
)
def test_the_gaussian_window_is_the_originals_blend(shape):
    plan = gaussian_plan(*shape)
    rng = np.random.default_rng(20260804)
    tiles = [rng.standard_normal((2, *plan.tile)) for _ in range(len(plan))]
    assert collected(plan, tiles, "gaussian") == pytest.approx(literal(plan, tiles), abs=2e-6)


def test_another_window_or_a_transposed_one_is_noticed():
    """The planted fault."""
    plan = gaussian_plan(22, 29, 16, 4)
    rng = np.random.default_rng(20260805)
    tiles = [rng.standard_normal((1, *plan.tile)) for _ in range(len(plan))]
    assert np.abs(collected(plan, tiles, "ramp") - literal(plan, tiles)).max() > 0.1
    turned = TilePlan(Size(29, 22), plan.tile, 4, plan.lefts, plan.tops)
    order = [row * len(plan.lefts) + column for column in range(len(plan.lefts)) for row in range(len(plan.tops))]
    wrong = collected(turned, [tiles[index].transpose(0, 2, 1) for index in order], "gaussian").transpose(0, 2, 1)
    assert np.abs(wrong - literal(plan, tiles)).max() > 0.1


@pytest.mark.parametrize("name", ["latent-tiled", "latent-tiled-narrow"])
def test_where_one_golden_tile_is_alone_its_values_stand(name):
    with np.load(GOLDEN / f"case-{name}.npz") as arrays:
        blended, first, last = (arrays[key][0] for key in ("eps", "tile0_eps", "tile_last_eps"))
        overlap = int(arrays["latent_tiled_overlap"])
    plan = gaussian_plan(*blended.shape[1:], first.shape[1], overlap)
    tiles = [np.zeros_like(first) for _ in range(len(plan))]
    tiles[0], tiles[-1] = first, last
    result = collected(plan, tiles, "gaussian")
    # Where the others reach, here as zeros, the values must differ: the comparison is not of zeros with zeros.
    same = np.abs(result - blended).max(axis=0) < 1e-6
    second_top = plan.tops[1] if len(plan.tops) > 1 else plan.tile.height
    before_top = plan.tops[-2] + plan.tile.height if len(plan.tops) > 1 else 0
    assert same[:second_top, : plan.lefts[1]].all()
    assert same[before_top:, plan.lefts[-2] + plan.tile.width :].all()
    assert not same.all()
