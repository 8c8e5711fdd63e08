"""Adding a weighted tile."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.kernels.blend_tiles import add_tile


def test_a_tile_is_added_under_its_window():
    draw = np.random.default_rng(0)
    canvas, tile = draw.random((2, 4, 9), np.float32), draw.random((2, 4, 3), np.float32)
    rows, columns = draw.random(4, np.float32), draw.random(3, np.float32)
    expected = canvas.astype(np.float64)
    for c, y, x in np.ndindex(2, 4, 3):
        expected[c, y, 5 + x] += float(tile[c, y, x]) * float(rows[y]) * float(columns[x])
    add_tile(canvas, tile, rows, columns, 5)
    assert canvas == pytest.approx(expected, abs=1e-6)


def test_a_window_of_ones_adds_exactly():
    canvas, tile = np.zeros((1, 2, 2), np.float32), np.float32([[[0.1, 0.2], [0.3, 0.4]]])
    add_tile(canvas, tile, np.ones(2, np.float32), np.ones(2, np.float32), 0)
    assert canvas.tobytes() == tile.tobytes()


@pytest.mark.parametrize("left", [-1, 7])
def test_a_tile_outside_the_canvas_is_refused(left):
    with pytest.raises(ValueError, match="expected it inside"):
        add_tile(np.zeros((1, 2, 9), np.float32), np.ones((1, 2, 3), np.float32), np.ones(2), np.ones(3), left)
