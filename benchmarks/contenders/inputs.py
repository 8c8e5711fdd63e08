"""What contenders are given, equal for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from measuring.scene import scene
from numpy.typing import NDArray

__all__ = ["network_feed"]


def network_feed(shape: Sequence[int]) -> dict[str, NDArray[np.float32]]:
    """`state` `[1, 3, H, W]` in [-1, 1] of the test scene, and `t` = 1."""
    height, width = shape
    pixels = scene(height, width).astype(np.float32) / 127.5 - 1
    return {"state": np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), "t": np.ones(1, np.float32)}
