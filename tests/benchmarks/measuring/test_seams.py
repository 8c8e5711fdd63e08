"""Distances to tile edges, counted by hand."""

from __future__ import annotations

import numpy as np
from measuring.seams import edge_distance

from lqhq.runtime.geometry import Size
from lqhq.runtime.tiles import TilePlan, plan_tiles


def test_distance_is_counted_from_both_edges_of_an_overlap() -> None:
    plan = TilePlan(Size(4, 12), Size(4, 8), 4, (0,), (0, 4))  # lines at columns 4 (begin) and 8 (end)
    expected = [3, 2, 1, 0, 0, 1, 1, 0, 0, 1, 2, 3]
    assert np.array_equal(edge_distance(plan), np.tile(expected, (4, 1)))


def test_rows_and_columns_take_the_nearer_line() -> None:
    plan = plan_tiles(Size(8, 8), Size(4, 4), overlap=0, multiple=4)
    line = np.array([3, 2, 1, 0, 0, 1, 2, 3])
    assert np.array_equal(edge_distance(plan), np.minimum(line[:, None], line[None, :]))


def test_an_untiled_canvas_is_far_from_every_line() -> None:
    assert edge_distance(plan_tiles(Size(8, 8), Size(8, 8), overlap=0, multiple=4)).min() == 8
