"""Mean and variance of each channel of a canvas that comes in strips, as exact as if it came at once.

Every row gets its own sum and its own spread, in float32 about the row's mean, so that nothing cancels where the mean
is far larger than the spread; rows are merged in float64 in their own order. What comes out depends on the canvas
alone: not on where strips begin, nor on which comes first. The merge is that of T. F. Chan, G. H. Golub, R. J. LeVeque,
"Updating formulae and a pairwise algorithm for computing sample variances", 1979.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.geometry import Size

__all__ = ["RowMoments"]

Array = NDArray[np.float32]
BLOCK = 1 << 17  # values at a time: they and their differences stay in a core's cache


class RowMoments:
    """Moments of a canvas `[channels, height, width]`, of which every row is added once."""

    def __init__(self, channels: int, size: Size) -> None:
        self._width = size.width
        self._mean = np.zeros((channels, size.height), np.float64)
        self._spread = np.zeros((channels, size.height), np.float64)  # sum of squared differences from the row's mean

    def add(self, top: int, rows: Array) -> None:
        """Take `rows` `[channels, n, width]`, float32, that begin at row `top`."""
        channels, count, width = rows.shape
        deep = max(1, min(count, BLOCK // width))
        wide = max(1, BLOCK // (deep * width))
        scratch = np.empty((wide, deep, width), np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # a result that is not finite is refused where it leaves
            for start in range(0, count, deep):
                for first in range(0, channels, wide):
                    block = rows[first : first + wide, start : start + deep]
                    inner = slice(first, first + wide), slice(top + start, top + start + block.shape[1])
                    self._measure(block, inner, scratch[: block.shape[0], : block.shape[1]])

    def _measure(self, block: Array, inner: tuple[slice, slice], scratch: Array) -> None:
        near = np.add.reduce(block, axis=2)
        near /= np.float32(self._width)
        difference = np.subtract(block, near[:, :, None], out=scratch)
        off = np.add.reduce(difference, axis=2).astype(np.float64)  # what rounding left of the mean
        np.multiply(difference, difference, out=difference)
        self._mean[inner] = near + off / self._width
        self._spread[inner] = np.add.reduce(difference, axis=2) - off * off / self._width

    def normalisers(self, groups: int, eps: float) -> tuple[Array, Array]:
        """`mean` and `rstd = 1 / sqrt(variance + eps)` of each channel's group, biased variance; `[channels]` float32.

        Channels that follow each other share a group. NaN and infinity of the canvas go on into both.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            channels = len(self._mean)
            means = self._mean.reshape(groups, -1)
            mean = means.mean(axis=1)
            between = ((means - mean[:, None]) ** 2).mean(axis=1)
            within = self._spread.reshape(groups, -1).mean(axis=1) / self._width
            rstd = 1 / np.sqrt(within + between + eps)
        share = channels // groups
        return np.repeat(mean.astype(np.float32), share), np.repeat(rstd.astype(np.float32), share)
