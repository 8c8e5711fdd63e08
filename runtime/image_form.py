"""What an image is, without its pixels: enough to plan its restoration before it is decoded."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageForm"]


class ImageForm(NamedTuple):
    """Shape and type of an image `[H, W, C]` that stands upright: `dtype` is uint8, uint16 or float32."""

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, image: NDArray[Any]) -> Self:
        """The form of `image` `[H, W, C]`."""
        height, width, channels = image.shape
        return cls(height, width, channels, image.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes that its pixels take in memory."""
        return self.height * self.width * self.channels * self.dtype.itemsize
