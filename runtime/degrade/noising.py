"""Noise onto an image: Gaussian, Gaussian with a covariance, and Poisson, from one stream of draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.degrade.draws import Draws
from lqhq.runtime.degrade.steps import CorrelatedNoise, GaussianNoise, PoissonNoise

__all__ = ["correlated_noise", "gaussian_noise", "poisson_noise"]

Image = NDArray[np.float32]
LUMA = (0.299, 0.587, 0.114)  # BT.601
BLOCK = 1 << 16  # values at a time: the working set stays in the cache


def gaussian_noise(image: Image, step: GaussianNoise, draws: Draws) -> Image:
    """`image` float32 `[H, W, 3]` in [0, 1] with noise, clipped."""
    height, width, channels = image.shape
    planes = 1 if step.gray else channels
    noise = draws.normals(height * width * planes).reshape(height, width, planes)
    return _clipped(image + noise * np.float32(step.sigma / 255))


def correlated_noise(image: Image, step: CorrelatedNoise, draws: Draws) -> Image:
    """`image` float32 `[H, W, 3]` in [0, 1] with noise of the step's covariance, clipped."""
    values, vectors = np.linalg.eigh(np.array(step.covariance))
    root = vectors * np.sqrt(np.maximum(values, 0))  # root @ root.T is the covariance; rounding may leave -1e-14
    noise = draws.normals(image.size).reshape(image.shape) @ (root.T / 255).astype(np.float32)
    return _clipped(image + noise)


def poisson_noise(image: Image, step: PoissonNoise, draws: Draws) -> Image:
    """`image` float32 `[H, W, 3]` in [0, 1] with shot noise, clipped.

    The image, or its luma for gray noise, is rounded to 8 bits; with V = 2^ceil(log2(levels that occur in it)) a level
    v in [0, 1] becomes P / V - v, where P is Poisson of mean v V; `scale` times that is added. So images of many levels
    get less of it. Source: Real-ESRGAN (arXiv 2107.10833) and its released code.
    """
    source = (image @ np.array(LUMA, np.float32))[:, :, None] if step.gray else image
    levels = np.rint(np.clip(source, 0, 1) * 255).astype(np.uint8)
    noise = _shot(levels.reshape(-1), draws).reshape(levels.shape)
    return _clipped(image + noise * np.float32(step.scale))


def _shot(levels: NDArray[np.uint8], draws: Draws) -> Image:
    """`[n]`: Poisson counts over V less the level, by the inverse of each level's distribution function."""
    present = np.flatnonzero(np.bincount(levels, minlength=256))
    peak = 1 << math.ceil(math.log2(len(present)))
    table = _distribution(present / 255 * peak)
    # The functions one after another, each one higher, are a single ascending row to search in.
    rows, columns = table.shape
    ascending = (table + np.arange(rows)[:, None]).reshape(-1)
    rank = np.zeros(256, np.intp)
    rank[present] = np.arange(rows)
    noise = np.empty(levels.shape, np.float32)
    for start in range(0, len(levels), BLOCK):
        block = levels[start : start + BLOCK]
        row = rank[block]
        count = np.searchsorted(ascending, draws.uniforms(len(block)) + row, side="right") - row * columns
        noise[start : start + BLOCK] = np.minimum(count, columns - 1) / peak - block / 255
    return noise


def _distribution(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(count <= k) of each mean, `[means, K]`; 12 deviations above the largest mean, less than 1e-20 is left."""
    most = float(mean.max())
    count = np.arange(math.ceil(most + 12 * math.sqrt(most) + 24))
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(count[1:]))))
    with np.errstate(divide="ignore", invalid="ignore"):
        log = count * np.log(mean)[:, None] - mean[:, None] - log_factorial
    mass: NDArray[Any] = np.exp(np.where(mean[:, None] > 0, log, np.where(count == 0, 0.0, -np.inf)))
    total: NDArray[np.float64] = np.minimum(np.cumsum(mass, axis=1), 1)
    total[:, -1] = 1
    return total


def _clipped(image: NDArray[Any]) -> Image:
    clipped: Image = np.clip(image, 0, 1, dtype=np.float32)
    return clipped
