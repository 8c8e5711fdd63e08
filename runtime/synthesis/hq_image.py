"""An HQ file as what degradations take: RGB, 8 bit, its sides multiples of the scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import ImageError
from lqhq.runtime.image_file import read_image

__all__ = ["read_hq"]

DEEP = 257  # 65535 / 255: 16 bits as 8


def read_hq(path: Path, scale: int) -> NDArray[np.uint8]:
    """`[H, W, 3]` uint8 RGB, upright; what is left of H and W by `scale` is cut off at the bottom and the right.

    Grey is repeated, 16 bits are rounded to 8, an opaque alpha is left out; profiles are not applied. Raises
    `ImageError` for transparency, a side below `scale`, and as `read_image` does.
    """
    pixels = read_image(path).pixels
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + DEEP // 2) // DEEP).astype(np.uint8)
    if pixels.shape[2] % 2 == 0:
        if pixels[:, :, -1].min() < 255:
            raise ImageError(
                str(path),
                found="transparent pixels",
                expected="an opaque image",
                mend="Flatten it first: what lies under transparency is no photo to learn from.",
            )
        pixels = pixels[:, :, :-1]
    height, width = (length // scale * scale for length in pixels.shape[:2])
    if not height * width:
        raise ImageError(
            str(path),
            found=f"{pixels.shape[1]} x {pixels.shape[0]} pixels",
            expected=f"sides of {scale} at least, for --scale {scale}",
            mend="Leave it out; real pairs want sides of some hundred pixels.",
        )
    return np.ascontiguousarray(np.broadcast_to(pixels[:height, :width], (height, width, 3)), np.uint8)
