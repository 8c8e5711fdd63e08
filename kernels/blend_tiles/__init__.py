"""Adds a weighted tile into a canvas. The windows of a plan sum to one, so no second canvas holds weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.blend_tiles.reference import add

__all__ = ["add_tile"]

Array = NDArray[np.float32]


def add_tile(canvas: Array, tile: Array, row_weights: Array, column_weights: Array, left: int) -> None:
    """`canvas[:, :, left:left+w] += tile * row_weights[:, None] * column_weights`, in place.

    `canvas` is `[C, h, W]`, `tile` `[C, h, w]`, the weights `[h]` and `[w]`, all float32. `tile` is used up: its
    borders are weighted in place. Raises `ValueError` when the tile does not lie inside the canvas.
    """
    channels, height, width = tile.shape
    if canvas.shape[:2] != (channels, height) or not 0 <= left <= canvas.shape[2] - width:
        raise ValueError(f"tile: found {tile.shape} at column {left}; expected it inside a canvas {canvas.shape}")
    add(canvas[:, :, left : left + width], tile, row_weights, column_weights)
