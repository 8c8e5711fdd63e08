"""Images smaller than the network was trained for: enlarged before it, and the result shrunk again behind it.

The images have no mask, and no alpha but as an image of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels import FULL_SCALE
from lqhq.runtime.geometry import Size
from lqhq.runtime.resample import resample

__all__ = ["enlarged_small", "shrunk", "small_size"]


def small_size(size: Size, side: int) -> Size:
    """`size`, or where a side is below `side`: both multiplied so that the shorter is `side`, rounded half up."""
    shorter = min(size)
    if shorter >= side:
        return size
    return Size(*((2 * length * side + shorter) // (2 * shorter) for length in size))


def enlarged_small(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Return `image` `[H, W, C]` at `small_size`, of the same dtype; the same array where no side is below `side`.

    uint8, uint16 (rounded half to even) or float32 in 0..1 (clipped), by the bicubic filter (a = -0.5).
    """
    size = small_size(Size(*image.shape[:2]), side)
    return image if size == image.shape[:2] else _resampled(image, size)


def shrunk(result: NDArray[Any], size: Size) -> NDArray[Any]:
    """Return `result` `[H, W, C]` at exactly `size`, of the same dtype; the same array where it has that size already.

    uint8, uint16 (rounded half to even) or float32 in 0..1 (clipped), antialiased.
    """
    return result if size == result.shape[:2] else _resampled(result, size)


def _resampled(image: NDArray[Any], size: Size) -> NDArray[Any]:
    # Bicubic to shrink as well: on a hard edge in the result of an input of 10 to 120 pixels it overshoots by 4 to
    # 7 %, Lanczos by 7 to 11 % and in half as many pixels again. Lanczos gives noise that was enlarged from 20 to 100
    # pixels back with an rms error of 0.10 of full scale, bicubic with 0.115: it keeps more of the finest detail, but
    # of that an image this small had little.
    values = resample(image, size, "bicubic")
    full = np.float32(FULL_SCALE[image.dtype.name])
    np.clip(values, 0, full, out=values)
    if image.dtype.kind == "u":
        np.rint(values, out=values)
    return values.astype(image.dtype, copy=False)
