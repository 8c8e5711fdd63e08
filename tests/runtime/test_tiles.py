"""Tile plans: exact lists, and properties over any plan."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.runtime.errors import LimitError, OptionError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.tiles import fit_tile, plan_tiles

plans = st.tuples(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(0, 10), st.sampled_from([1, 2, 4, 8])
)


def make(height, width, tile, overlap, multiple):
    overlap = min(overlap, tile // 2) * multiple
    side = Size(tile * multiple, tile * multiple)
    return plan_tiles(Size(height * multiple, width * multiple), side, overlap=overlap, multiple=multiple)


def test_the_last_boxes_are_shifted_inward():
    plan = plan_tiles(Size(20, 30), Size(12, 12), overlap=4, multiple=2)
    assert plan.tops == (0, 8)
    assert plan.lefts == (0, 8, 16, 18)
    assert [plan.box(i) for i in (0, 3, 7)] == [Box(0, 0, 12, 12), Box(0, 18, 12, 12), Box(8, 18, 12, 12)]


def test_a_tile_larger_than_the_canvas_is_the_canvas():
    plan = plan_tiles(Size(8, 40), Size(64, 64), overlap=16, multiple=8)
    assert len(plan) == 1
    assert plan.box(0) == Box(0, 0, 8, 40)
    assert plan.overhead == 1.0


@given(plans)
def test_any_plan_covers_every_pixel_with_equal_aligned_boxes(values):
    plan, multiple = make(*values), values[-1]
    covered = [[0] * plan.canvas.width for _ in range(plan.canvas.height)]
    for index in range(len(plan)):
        box = plan.box(index)
        assert box.size == plan.tile
        assert box.top % multiple == box.left % multiple == 0
        assert 0 <= box.top <= box.bottom <= plan.canvas.height
        assert 0 <= box.left <= box.right <= plan.canvas.width
        for y in range(box.top, box.bottom):
            for x in range(box.left, box.right):
                covered[y][x] += 1
    assert min(map(min, covered)) >= 1


@given(plans)
def test_neighbours_share_at_least_the_overlap(values):
    plan = make(*values)
    for starts, side in ((plan.tops, plan.tile.height), (plan.lefts, plan.tile.width)):
        assert all(a + side - b >= plan.overlap for a, b in itertools.pairwise(starts))
        assert list(starts) == sorted(set(starts))


@given(st.integers(1, 400), st.integers(2, 60), st.integers(0, 30), st.sampled_from([1, 2, 4]))
def test_a_fitted_tile_covers_with_no_more_tiles_and_less_waste(length, tile, overlap, multiple):
    length, tile, overlap = length * multiple, tile * multiple, min(overlap, tile // 2) * multiple
    fitted = fit_tile(length, tile, overlap=overlap, multiple=multiple)
    sizes = [plan_tiles(Size(length, length), Size(s, s), overlap=overlap, multiple=multiple) for s in (tile, fitted)]
    assert fitted <= max(tile, length)
    assert fitted % multiple == 0
    assert len(sizes[1]) <= len(sizes[0])
    assert sizes[1].overhead <= sizes[0].overhead


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [(10, 0, "tile: found 10; expected a multiple of 4"), (8, 2, "overlap: found 2"), (16, 12, "at most half")],
)
def test_impossible_plans_say_what_to_do(tile, overlap, message):
    with pytest.raises(OptionError, match=message):
        plan_tiles(Size(64, 64), Size(tile, tile), overlap=overlap, multiple=4)


def test_an_unpadded_canvas_is_our_own_fault():
    with pytest.raises(ValueError, match="pad it first"):
        plan_tiles(Size(63, 64), Size(16, 16), overlap=4, multiple=4)


def original_offsets(length, tile, overlap):
    """The original's rule, as its facts put it: n tiles, every one at k steps but the last, which ends flush."""
    step, n = tile - overlap, 1
    while (n - 1) * step + tile < length:
        n += 1
    return (*(k * step for k in range(n - 1)), length - tile)


@given(st.integers(1, 700), st.integers(1, 128), st.integers(0, 127))
def test_offsets_are_the_originals(length, tile, overlap):
    tile, overlap = min(tile, length), min(overlap, tile - 1)
    plan = plan_tiles(Size(tile, length), Size(tile, tile), overlap=overlap, multiple=1, dense=True)
    assert plan.tops == (0,)
    assert plan.lefts == original_offsets(length, tile, overlap)


@pytest.mark.parametrize(
    ("canvas", "tile", "overlap", "tops", "lefts"),
    [
        (Size(22, 29), 16, 4, (0, 6), (0, 12, 13)),
        (Size(12, 36), 12, 4, (0,), (0, 8, 16, 24)),
        (Size(128, 128), 96, 32, (0, 32), (0, 32)),
        (Size(256, 512), 96, 32, (0, 64, 128, 160), (0, 64, 128, 192, 256, 320, 384, 416)),
        (Size(40, 300), 40, 32, (0,), (*range(0, 260, 8), 260)),
    ],
)
def test_the_originals_plans(canvas, tile, overlap, tops, lefts):
    plan = plan_tiles(canvas, Size(tile, tile), overlap=overlap, multiple=1, dense=True)
    assert (plan.tops, plan.lefts) == (tops, lefts)
    assert plan.scaled(8) == plan_tiles(
        canvas.scaled(8), plan.tile.scaled(8), overlap=8 * overlap, multiple=8, dense=True
    )


def test_more_than_half_of_a_tile_is_shared_only_where_allowed():
    with pytest.raises(OptionError, match="found 32 with tile 40; expected at most half of the tile, 20"):
        plan_tiles(Size(40, 300), Size(40, 40), overlap=32, multiple=1)
    with pytest.raises(OptionError, match="found 40 with tile 40; expected less than the tile, 39"):
        plan_tiles(Size(40, 300), Size(40, 40), overlap=40, multiple=1, dense=True)


@pytest.mark.parametrize("height", [1, 20, 32, 63])
def test_a_canvas_narrower_than_the_overlap_allows_is_tiled_along_its_length(height):
    plan = plan_tiles(Size(height, 600), Size(96, 96), overlap=32, multiple=1)
    assert plan.tile == Size(height, 96)
    assert plan.tops == (0,)
    assert plan.lefts == (*range(0, 504, 64), 504)


@settings(deadline=None)
@given(plans)
def test_cores_cover_every_pixel_once_and_keep_half_of_the_overlap(values):
    plan, multiple = make(*values), values[-1]
    counted = [[0] * plan.canvas.width for _ in range(plan.canvas.height)]
    half = plan.overlap // 2 // multiple * multiple
    for index in range(len(plan)):
        box, core = plan.box(index), plan.core(index, multiple=multiple)
        assert all(side % multiple == 0 for side in core)
        for y in range(core.top, core.bottom):
            for x in range(core.left, core.right):
                counted[y][x] += 1
        assert core.top - box.top >= (half if box.top else 0)
        assert core.left - box.left >= (half if box.left else 0)
        assert box.bottom - core.bottom >= (half if box.bottom < plan.canvas.height else 0)
        assert box.right - core.right >= (half if box.right < plan.canvas.width else 0)
    assert {count for row in counted for count in row} == {1}


def test_a_scaled_plan_has_the_same_boxes_on_a_larger_canvas():
    plan = plan_tiles(Size(20, 30), Size(12, 12), overlap=4, multiple=2)
    large = plan.scaled(3)
    assert (large.canvas, large.tile, large.overlap) == (Size(60, 90), Size(36, 36), 12)
    assert [large.box(i) for i in range(len(plan))] == [Box(*(3 * n for n in plan.box(i))) for i in range(len(plan))]


def test_a_row_of_millions_of_pixels_is_refused_before_its_tiles_are_listed():
    """A list of them would take gigabytes, and the interpreter's lock for seconds."""
    row = Size(8, 240_000_000)
    assert fit_tile(row.width, 8, overlap=4, multiple=4) == 8
    with pytest.raises(LimitError, match=r"tile: found 8 with overlap 4: 59999999 tiles .* at most 65536"):
        plan_tiles(row, Size(8, 8), overlap=4, multiple=4)
    assert len(plan_tiles(Size(8, 4 * 65537), Size(8, 8), overlap=4, multiple=4)) == 65536
