"""Noise of an image, on the canvas that the padded image takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["padded_noise"]


def padded_noise(noise: NDArray[np.float32], prepared: Tensor) -> NDArray[np.float32]:
    """`noise` `[..., H, W]` of the image on the canvas of `prepared` `[..., H', W']`; the padding has none."""
    grown = np.zeros((*noise.shape[:-2], *prepared.shape[2:]), np.float32)
    grown[..., : noise.shape[-2], : noise.shape[-1]] = noise
    return grown
