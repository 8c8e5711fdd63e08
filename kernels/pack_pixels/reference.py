"""Pixel packing in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack", "unpack"]

Range = tuple[float, float]


def unpack(pixels: NDArray[Any], full_scale: float, value_range: Range, bgr: bool) -> NDArray[np.float32]:
    """See the package. Division first, then the range: the order of PyTorch code (`x / 255 * 2 - 1`)."""
    low, high = np.float32(value_range[0]), np.float32(value_range[1])
    tensor = np.empty((3, *pixels.shape[:2]), np.float32)
    source = pixels[..., ::-1] if bgr and pixels.shape[2] == 3 else pixels
    tensor[...] = source.transpose(2, 0, 1)
    tensor /= np.float32(full_scale)
    tensor *= high - low
    tensor += low
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
    low, high = np.float32(value_range[0]), np.float32(value_range[1])
    values = tensor.mean(axis=0, keepdims=True) if channels == 1 else tensor
    values = (values - low) / (high - low)
    np.clip(values, 0, 1, out=values)
    values *= np.float32(full_scale)
    if dtype.kind == "u" and mode == "round":
        np.rint(values, out=values)
    if bgr and channels == 3:
        values = values[::-1]
    pixels = np.empty((*values.shape[1:], channels), dtype)
    for channel in range(channels):  # cast while interleaving: one pass, and integers truncate as they should
        np.copyto(pixels[..., channel], values[channel], casting="unsafe")
    return pixels
