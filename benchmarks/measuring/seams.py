"""Errors of a tiled result by distance to the nearest tile edge."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.tiles import TilePlan

__all__ = ["BINS", "bin_names", "by_distance", "edge_distance"]

BINS = (0, 8, 16, 32, 64)  # pixels of the result; the last bin is open


def bin_names() -> list[str]:
    """Headings of the columns."""
    return [*(f"{low} to {high}" for low, high in pairwise(BINS)), f"{BINS[-1]} and more"]


def by_distance(error: NDArray[Any], plan: TilePlan) -> list[NDArray[Any]]:
    """The values of `error` `[H, W]` in each bin; `plan` is on the same canvas, or a larger one (padding)."""
    distance = edge_distance(plan)[: error.shape[0], : error.shape[1]]
    far = int(distance.max()) + 1
    ends = (*BINS[1:], max(far, BINS[-1] + 1))
    return [error[(distance >= low) & (distance < high)] for low, high in zip(BINS, ends, strict=True)]


def edge_distance(plan: TilePlan) -> NDArray[np.int64]:
    """Pixels to the nearest line inside the canvas where a tile begins or ends, `[H, W]`; far if there is none."""
    axes = []
    for starts, side, length in zip((plan.tops, plan.lefts), plan.tile, plan.canvas, strict=True):
        lines = [start for start in starts if start > 0]
        lines += [start + side for start in starts if start + side < length]
        centres = np.arange(length)[:, None]
        # Pixel p lies between lines p and p + 1, so both pixels at a line have distance 0.
        apart = np.minimum(np.abs(centres - lines), np.abs(centres + 1 - lines)) if lines else None
        axes.append(apart.min(1) if apart is not None else np.full(length, max(plan.canvas)))
    nearest: NDArray[np.int64] = np.minimum(axes[0][:, None], axes[1][None, :])
    return nearest
