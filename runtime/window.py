"""Blend weights of a tile plan. Along each axis they sum to one at every pixel, so tiles just add up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["axis_weights"]


def axis_weights(length: int, side: int, overlap: int, starts: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights `[len(starts), side]` float32 of the boxes along one axis of `length` pixels.

    Inside an overlap they are a linear ramp. Its outer quarter is zero: there the network saw least of what
    surrounds a pixel, and the neighbour saw most. At the canvas's own edges the weight stays one.
    """
    guard = overlap // 4
    distance = np.arange(side) + 0.5
    ramp = np.clip((distance - guard) / max(1, overlap - 2 * guard), 0, 1) if overlap else np.ones(side)
    raw = np.ones((len(starts), side))
    total = np.zeros(length)
    for index, start in enumerate(starts):
        if start > 0:
            raw[index] *= ramp
        if start + side < length:
            raw[index] *= ramp[::-1]
        total[start : start + side] += raw[index]
    for index, start in enumerate(starts):
        raw[index] /= total[start : start + side]
    return raw.astype(np.float32)
