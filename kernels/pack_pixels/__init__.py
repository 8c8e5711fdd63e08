"""Between images and network tensors: value range, channel order, layout, integers.

Images are `[H, W, C]` (uint8, uint16, or float in units of `full_scale`), RGB or grey; tensors are `[3, H, W]`
float32 in the network's range and order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels.reference import pack, unpack

__all__ = ["FULL_SCALE", "pixels_from_tensor", "tensor_from_pixels"]

FULL_SCALE: dict[str, float] = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
Range = tuple[float, float]


def tensor_from_pixels(
    pixels: NDArray[Any], *, full_scale: float, value_range: Range, order: str
) -> NDArray[np.float32]:
    """`[H, W, 1 or 3]` to `[3, H, W]`: 0 becomes the range's low end, `full_scale` its high end; grey is repeated."""
    return unpack(pixels, full_scale, value_range, order == "bgr")


def pixels_from_tensor(
    tensor: NDArray[np.float32], *, channels: int, dtype: np.dtype[Any], value_range: Range, order: str, mode: str
) -> NDArray[Any]:
    """`[3, H, W]` to `[H, W, channels]` of `dtype`, clamped to the range; grey is the mean of the channels.

    Integers are rounded half to even, or truncated where `mode` says so. Raises `ValueError` when the tensor
    holds a NaN or infinity: a network that fails must not pass for a black or white picture.
    """
    if not (np.isfinite(tensor.min()) and np.isfinite(tensor.max())):  # a NaN makes both NaN
        raise ValueError("tensor: found NaN or infinity; expected finite values")
    return pack(tensor, channels, dtype, FULL_SCALE[dtype.name], value_range, order == "bgr", mode)
