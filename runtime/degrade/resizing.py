"""Resizing as the degradations do it: mostly without antialiasing, which is part of the damage.

The image library has no such filters: its own are antialiased, and its interpolation rounds positions to 1/64 pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.degrade.steps import Mode
from lqhq.runtime.geometry import Size
from lqhq.runtime.resample import resample

__all__ = ["resize"]

Image = NDArray[np.float32]
BLOCK = 1 << 16  # values per block of sums: it stays in a 2 MiB cache with its source and product


class _Taps(NamedTuple):
    """Where each of n outputs along one axis reads, and how much: `[K, n]` both; unused taps weigh 0."""

    source: NDArray[np.intp]
    weight: NDArray[np.float32]


def resize(image: Image, size: Size, mode: Mode) -> Image:
    """Return `image` float32 `[H, W, C]` at `size`, not clipped (cubic kernels overshoot).

    `area`: the mean of all source pixels that the output pixel touches. `bilinear`, `bicubic` (a = -0.75): two and four
    source pixels along each axis, whatever the factor; beyond the border the nearest is read. These three are what
    torch's `interpolate` does when it is given a size. `antialiased`: bicubic, widened when shrinking, see `resample`.
    """
    if mode == "antialiased":
        return resample(image, size, "bicubic")
    height, width, channels = image.shape
    if height != size.height:
        rows = _along_rows(image.reshape(height, width * channels), _taps(height, size.height, mode))
        image = rows.reshape(size.height, width, channels)
    if width != size.width:
        # Turned, so that taps are whole rows: those are read several times faster.
        turned = image.transpose(1, 0, 2).reshape(width, size.height * channels)
        columns = _along_rows(turned, _taps(width, size.width, mode))
        image = np.ascontiguousarray(columns.reshape(size.width, size.height, channels).transpose(1, 0, 2))
    return image


def _along_rows(source: Image, taps: _Taps) -> Image:
    """`[h, m]` to `[n, m]`: each row the weighted sum of its taps among the rows of `source`, the first tap first."""
    count = taps.source.shape[1]
    out = np.empty((count, source.shape[1]), np.float32)
    step = max(1, BLOCK // source.shape[1])
    for top in range(0, count, step):
        index, weight = taps.source[:, top : top + step], taps.weight[:, top : top + step, None]
        total = source[index[0]] * weight[0]
        for tap in range(1, len(index)):
            total += source[index[tap]] * weight[tap]
        out[top : top + step] = total
    return out


def _taps(source: int, target: int, mode: Mode) -> _Taps:
    output = np.arange(target)
    if mode == "area":
        first, end = output * source // target, -(-(output + 1) * source // target)
        index = first + np.arange(int((end - first).max()))[:, None]
        return _made(index, np.where(index < end, 1 / (end - first), 0.0), source)
    position = (output + 0.5) * (source / target) - 0.5
    if mode == "bilinear":
        position = np.maximum(position, 0)
        first = np.floor(position).astype(np.intp)
        part = position - first
        return _made(first + np.arange(2)[:, None], np.stack((1 - part, part)), source)
    first = np.floor(position).astype(np.intp) - 1
    index = first + np.arange(4)[:, None]
    return _made(index, _cubic(np.abs(index - position)), source)


def _made(index: NDArray[Any], weight: NDArray[np.float64], source: int) -> _Taps:
    return _Taps(np.clip(index, 0, source - 1), weight.astype(np.float32))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel (1981) with a = -0.75: 1 at 0, 0 at the other integers and beyond 2."""
    a = -0.75
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
