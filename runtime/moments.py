"""Mean and variance of each channel of a canvas that comes in strips, as exact as if it came at once.

Every row gets its own mean and its own spread in float32: by its squares, or where the mean is not small against the
spread and those would cancel, by its differences from the mean. Rows are merged in float64 in their own order. What
comes out depends on the canvas alone: not on where strips begin, nor on which comes first. The merge is that of
T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
1979.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.geometry import Size

__all__ = ["RowMoments"]

Array = NDArray[np.float32]
BLOCK = 1 << 17  # values at a time: they stay in a core's cache
LITTLE = 0.25  # a row's variance is at least this of its squared mean, or two digits and more may cancel


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
        with np.errstate(invalid="ignore", over="ignore"):  # a result that is not finite is refused where it leaves
            for start in range(0, count, deep):
                for first in range(0, channels, wide):
                    block = rows[first : first + wide, start : start + deep]
                    inner = slice(first, first + wide), slice(top + start, top + start + block.shape[1])
                    self._mean[inner], self._spread[inner] = _measured(block)

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


def _measured(block: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of each row of `[channels, n, width]`: of squares where little cancels, else of differences."""
    width = block.shape[2]
    near = np.add.reduce(block, axis=2) / np.float32(width)
    mean = near.astype(np.float64)
    spread = np.einsum("cnw,cnw->cn", block, block) - width * mean * mean
    cancels = ~(spread >= LITTLE * width * mean * mean)  # NaN and infinity, too
    if cancels.any():
        mean[cancels], spread[cancels] = _differing(block[cancels], near[cancels])
    return mean, spread


def _differing(rows: Array, near: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same of `[n, width]`, about each row's rounded mean."""
    width = rows.shape[1]
    difference = rows - near[:, None]
    off = np.add.reduce(difference, axis=1).astype(np.float64)  # what rounding left of the mean
    spread = np.einsum("nw,nw->n", difference, difference) - off * off / width
    return near + off / width, spread
