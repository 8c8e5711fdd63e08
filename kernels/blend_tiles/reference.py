"""Weighted accumulation in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["add"]

Array = NDArray[np.float32]


def add(region: Array, tile: Array, row_weights: Array, column_weights: Array) -> None:
    """`region += tile * window`. Only the borders of a window differ from one, so only they are multiplied."""
    for weights, axis in ((row_weights, 1), (column_weights, 2)):
        inner = np.flatnonzero(weights == 1)
        first, last = (int(inner[0]), int(inner[-1]) + 1) if len(inner) else (len(weights), len(weights))
        shape = (-1, 1) if axis == 1 else (1, -1)
        for border in (slice(0, first), slice(last, len(weights))):
            part = tile[:, border] if axis == 1 else tile[:, :, border]
            part *= weights[border].reshape(shape)
    region += tile
