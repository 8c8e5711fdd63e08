"""Random numbers from a key: the same on every version of NumPy, whatever was drawn elsewhere."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KEY_BYTES", "Draws"]

KEY_BYTES = 32
UNIT = 2.0**-53  # the upper 53 of 64 bits become a double in [0, 1)
BLOCK = 1 << 16  # pairs of normals at a time: the working set stays in the cache


class Draws:
    """One stream of numbers from `key`, `KEY_BYTES` bytes; other `stream` numbers are independent of it.

    The source is the raw 64-bit output of NumPy's Philox-4x64-10, keyed by the first 16 bytes of SHA-256 over the
    stream's number (4 bytes, little-endian) and `key`. Raw output never changes, while the methods of
    `numpy.random.Generator` may with any version of NumPy; so uniforms and normals are made of it here.
    """

    def __init__(self, key: bytes, stream: int) -> None:
        digest = hashlib.sha256(stream.to_bytes(4, "little") + key).digest()
        self._source = np.random.Philox(key=int.from_bytes(digest[:16], "little"))

    def uniform(self, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        return low + (high - low) * ((int(self._source.random_raw()) >> 11) * UNIT)

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + math.floor(self.uniform(0, high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability; never at 0, always at 1."""
        return self.uniform(0, 1) < probability

    def pick(self, weights: Mapping[str, float]) -> str:
        """One of the names, each as often as its weight; the weights sum to one."""
        left = self.uniform(0, 1)
        for name, weight in weights.items():
            left -= weight
            if left < 0:
                return name
        return max(weights, key=lambda name: weights[name])  # the sum was rounded to below one

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """`[count]` numbers in [0, 1)."""
        raw: NDArray[Any] = self._source.random_raw(count)
        return (raw >> np.uint64(11)).astype(np.float64) * UNIT

    def normals(self, count: int) -> NDArray[np.float32]:
        """`[count]` standard normals by Box and Muller (1958): each pair of uniforms gives two, side by side."""
        pairs = np.empty(((count + 1) // 2, 2), np.float32)
        for start in range(0, len(pairs), BLOCK):
            block = pairs[start : start + BLOCK]
            first, second = self.uniforms(2 * len(block)).reshape(-1, 2).T
            radius = np.sqrt(-2 * np.log1p(-first))
            block[:, 0], block[:, 1] = radius * np.cos(math.tau * second), radius * np.sin(math.tau * second)
        return pairs.reshape(-1)[:count]
