"""What an image in memory must be: `[H, W, C]` of uint8, uint16, or float32 in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels import FULL_SCALE
from lqhq.runtime.errors import ImageError

__all__ = ["check_image"]


def check_image(image: NDArray[Any]) -> None:
    """Raise `ImageError` for what is no image of 1 to 4 channels."""
    if not isinstance(image, np.ndarray) or image.dtype.name not in FULL_SCALE:
        found = f"{image.dtype} array" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(
            "image",
            found=found,
            expected="a NumPy array of uint8, uint16, or float32 in [0, 1]",
            mend="Convert it: numpy.asarray(image), then .astype.",
        )
    if image.ndim != 3 or not 1 <= image.shape[2] <= 4 or 0 in image.shape:
        raise ImageError(
            "image",
            found=f"shape {image.shape}",
            expected="[H, W, C] with C from 1 to 4 and no empty side",
            mend="Add the channel axis: image[:, :, None].",
        )
    if image.dtype == np.float32 and not (np.isfinite(image).all() and 0 <= image.min() <= image.max() <= 1):
        raise ImageError(
            "image",
            found=f"float32 from {image.min()} to {image.max()}",
            expected="values in [0, 1]",
            mend="Scale it, or give uint8 or uint16.",
        )
