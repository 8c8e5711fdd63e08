"""What libvips does for the degradations: filtering with any weights, and JPEG."""

from __future__ import annotations

import numpy as np
import pyvips
from numpy.typing import NDArray

__all__ = ["convolve", "through_jpeg"]

NEGLIGIBLE = 2.0**-30  # of the largest weight: below what float32 sums resolve, and zeros are skipped

# The library remembers results by argument, images included; nothing here is asked for twice.
pyvips.cache_set_max(0)


def convolve(image: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Filter `image` float32 `[H, W, C]` with `weights` `[h, w]`, odd sizes: output [y, x] is centred there.

    The weights are not mirrored (correlation). Beyond the border the image is reflected about its outermost pixels,
    as often as it takes. The same bits whatever the number of threads: each output is one sum, in one order.
    """
    height, width, channels = image.shape
    above, left = weights.shape[0] // 2, weights.shape[1] // 2
    padded = np.pad(image, ((above, above), (left, left), (0, 0)), "reflect")
    kept = np.where(np.abs(weights) < np.abs(weights).max() * NEGLIGIBLE, 0.0, weights)
    source = pyvips.Image.new_from_memory(padded.data, padded.shape[1], padded.shape[0], channels, "float")
    filtered = source.conv(pyvips.Image.new_from_array(kept.tolist()), precision="float")
    pixels = filtered.crop(left, above, width, height).write_to_memory()
    return np.frombuffer(pixels, np.float32).reshape(height, width, channels)


def through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """`pixels` uint8 `[H, W, 3]` RGB, after a baseline JPEG with the standard's tables scaled to `quality`, 1 to 100.

    Chroma is halved along both axes (4:2:0) at every quality, as in the degradations' released programs.
    """
    height, width, channels = pixels.shape
    contiguous = np.ascontiguousarray(pixels)
    source = pyvips.Image.new_from_memory(contiguous.data, width, height, channels, "uchar")
    data = source.copy(interpretation="srgb").jpegsave_buffer(Q=quality, subsample_mode="on", keep="none")
    decoded = pyvips.Image.jpegload_buffer(data).write_to_memory()
    return np.frombuffer(decoded, np.uint8).reshape(height, width, channels)
