"""Blend weights of a tile plan. Along each axis they sum to one at every pixel, so tiles just add up."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Window", "axis_weights"]

Window = Literal["ramp", "gaussian"]

REMEMBERED = 4096  # pixels along an axis, up to which weights are made once: less than they take, the tiles take
SPREAD = 0.01  # variance of the Gaussian over the squared side: a tenth of the side is one standard deviation


def axis_weights(
    length: int, side: int, overlap: int, starts: tuple[int, ...], *, window: Window = "ramp", shift: float = 0.0
) -> NDArray[np.float32]:
    """Weights `[len(starts), side]` float32 of the boxes along one axis of `length` pixels.

    `ramp`: inside an overlap they are linear. Its outer quarter is zero: there the network saw least of what
    surrounds a pixel, and the neighbour saw most. At the canvas's own edges the weight stays one. It has no `shift`.

    `gaussian`: g(i) = exp(-(i - m)^2 / (2 * 0.01 * side^2)), m = (side - 1) / 2 + `shift`, at the canvas's edges too.
    The original divides sum(tile * g_y * g_x) by sum(g_y * g_x) in two dimensions (its constant factor cancels). A plan
    takes every top with every left, so that divisor at (y, x) is sum_j g_y(y - top_j) * sum_k g_x(x - left_k), a
    product too: dividing along each axis is the same. Source: OSEDiff's latent tiling, with `shift` 0.5 along y.

    They are the caller's to read, not to write.
    """
    make = _remembered if length <= REMEMBERED else _weights
    return make(length, side, overlap, starts, window, shift)


def _weights(
    length: int, side: int, overlap: int, starts: tuple[int, ...], window: Window, shift: float
) -> NDArray[np.float32]:
    # float64 up to here: at a tile's ends the Gaussian is 4e-6 of its peak, at its corners 1e-11, and divided by itself
    # where no other tile is.
    raw = _gaussian(side, len(starts), shift) if window == "gaussian" else _ramps(length, side, overlap, starts)
    total = np.zeros(length)
    for index, start in enumerate(starts):
        total[start : start + side] += raw[index]
    for index, start in enumerate(starts):
        raw[index] /= total[start : start + side]
    weights = raw.astype(np.float32)
    weights.flags.writeable = False
    return weights


_remembered = lru_cache(maxsize=128)(_weights)


def _ramps(length: int, side: int, overlap: int, starts: tuple[int, ...]) -> NDArray[np.float64]:
    guard = overlap // 4
    distance = np.arange(side) + 0.5
    ramp = np.clip((distance - guard) / max(1, overlap - 2 * guard), 0, 1) if overlap else np.ones(side)
    raw = np.ones((len(starts), side))
    for index, start in enumerate(starts):
        if start > 0:
            raw[index] *= ramp
        if start + side < length:
            raw[index] *= ramp[::-1]
    return raw


def _gaussian(side: int, count: int, shift: float) -> NDArray[np.float64]:
    distance = np.arange(side) - ((side - 1) / 2 + shift)
    return np.tile(np.exp(-(distance**2) / (2 * SPREAD * side**2)), (count, 1))
