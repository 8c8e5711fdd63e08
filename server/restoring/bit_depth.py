"""Images from one bit depth to another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["in_depth"]

FULL = {"uint8": 255, "uint16": 65535}
BAND = 1 << 20  # values converted at once: what is held beside image and result stays small


def in_depth(pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`pixels` `[H, W, C]` (uint8, uint16, or float32 in [0, 1]) as `dtype`; the same array where it is that already.

    `v / full * full'`, rounded to the nearest; to 16 bits from 8 that is `257 * v`, and back it is exact.
    """
    if pixels.dtype == dtype:
        return pixels
    result = np.empty(pixels.shape, dtype)
    rows = max(1, BAND // max(1, pixels[:1].size))
    for top in range(0, pixels.shape[0], rows):
        result[top : top + rows] = _converted(pixels[top : top + rows], dtype)
    return result


def _converted(pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype == np.float32:
        return pixels / np.float32(FULL[pixels.dtype.name])
    if pixels.dtype == np.float32:
        return np.rint(pixels * np.float32(FULL[dtype.name]))
    if dtype == np.uint16:
        return pixels * np.uint16(257)
    return (pixels.astype(np.uint32) + 128) // 257  # 257 is odd, so there are no halves
