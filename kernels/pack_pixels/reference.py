"""Pixel packing in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack", "unpack"]

Range = tuple[float, float]


def unpack(pixels: NDArray[Any], full_scale: float, value_range: Range, bgr: bool) -> NDArray[np.float32]:
    """See the package. One multiplication and one addition for each value, straight into the planes."""
    low, high = value_range
    factor = np.float32((high - low) / full_scale)
    tensor = np.empty((3, *pixels.shape[:2]), np.float32)
    last = pixels.shape[2] - 1
    for plane in range(3):
        channel = min(plane, last) if not bgr else max(last - plane, 0)
        np.multiply(pixels[..., channel], factor, out=tensor[plane])
    if low:
        tensor += np.float32(low)
    return tensor


def pack(
    tensor: NDArray[np.float32],
    channels: int,
    dtype: np.dtype[Any],
    full_scale: float,
    value_range: Range,
    bgr: bool,
    mode: str,
) -> NDArray[Any]:
    """See the package."""
    low, high = value_range
    values = tensor.mean(axis=0, keepdims=True) if channels == 1 else tensor
    values = values - np.float32(low)
    values *= np.float32(full_scale / (high - low))
    np.clip(values, 0, np.float32(full_scale), out=values)
    if dtype.kind == "u" and mode == "round":
        np.rint(values, out=values)
    if bgr and channels == 3:
        values = values[::-1]
    pixels = np.empty((*values.shape[1:], channels), dtype)
    for channel in range(channels):  # cast while interleaving: one pass, and integers truncate as they should
        np.copyto(pixels[..., channel], values[channel], casting="unsafe")
    return pixels
