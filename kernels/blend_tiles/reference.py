"""Weighted accumulation in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["add"]

Array = NDArray[np.float32]


def add(region: Array, tile: Array, row_weights: Array, column_weights: Array) -> None:
    """`region += tile * window`; a window of ones (an untiled image) is a plain sum."""
    if (row_weights == 1).all() and (column_weights == 1).all():
        region += tile
    else:
        region += tile * (row_weights[:, None] * column_weights)
