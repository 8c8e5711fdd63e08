"""A test image that anyone can make again: waves of many lengths, hard edges, noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SEED", "scene"]

SEED = 20_261_122
WAVES, EDGES = 24, 40
NOISE = 3.0  # standard deviation in 8-bit levels: a camera at a modest ISO


def scene(height: int, width: int, seed: int = SEED) -> NDArray[np.uint8]:
    """`[height, width, 3]` uint8."""
    draw = np.random.default_rng(seed)
    y, x = (np.arange(side, dtype=np.float32) for side in (height, width))
    image = np.full((height, width, 3), 128, np.float32)
    for _ in range(WAVES):
        period = np.exp(draw.uniform(np.log(4), np.log(200)))
        angle, phase = draw.uniform(0, 2 * np.pi, 2)
        across = 2 * np.pi / period * (np.sin(angle) * y[:, None] + np.cos(angle) * x[None, :])
        image += np.sin(across + phase, dtype=np.float32)[..., None] * draw.uniform(-12, 12, 3).astype(np.float32)
    for _ in range(EDGES):
        top, left = (int(draw.integers(0, side)) for side in (height, width))
        tall, wide = (int(draw.integers(4, max(5, side // 4))) for side in (height, width))
        image[top : top + tall, left : left + wide] += draw.uniform(-60, 60, 3).astype(np.float32)
    image += draw.normal(0, NOISE, image.shape).astype(np.float32)
    return image.clip(0, 255).round().astype(np.uint8)
