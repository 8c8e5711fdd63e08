"""Philox-4x32-10 and Box-Muller in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["normal_block", "philox"]

Words = NDArray[np.uint32]
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
UNIT = np.float32(4.6566127342e-10)  # just under 2^-31, so that the uniform stays below one
TINY = np.float32(1e-7)
TURN = np.float32(6.283185307179586)
CHUNK = 1 << 16  # blocks at a time: the working set stays in the cache


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, ...]:
    """Four random words for each counter. Test vectors: Random123 `kat_vectors`."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    low = np.uint64(0xFFFFFFFF)
    for _ in range(ROUNDS):
        first, second = MULTIPLIERS[0] * c0.astype(np.uint64), MULTIPLIERS[1] * c2.astype(np.uint64)
        c0, c1, c2, c3 = (
            (second >> np.uint64(32)).astype(np.uint32) ^ c1 ^ np.uint32(k0),
            (second & low).astype(np.uint32),
            (first >> np.uint64(32)).astype(np.uint32) ^ c3 ^ np.uint32(k1),
            (first & low).astype(np.uint32),
        )
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def uniform(words: Words) -> NDArray[np.float32]:
    """Words to [0, 1) float32: the sign is folded away, as Triton does."""
    signed = words.view(np.int32)
    folded = np.where(signed < 0, -(signed + 1), signed)
    return folded.astype(np.float32) * UNIT


def normal_pair(first: Words, second: Words) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Box-Muller: two words to two independent normals."""
    radius = np.sqrt(np.float32(-2) * np.log(np.maximum(TINY, uniform(first))))
    angle = TURN * uniform(second)
    return radius * np.cos(angle), radius * np.sin(angle)


def normal_block(
    key: tuple[int, int], last: int, channels: int, top: int, left: int, height: int, width: int
) -> NDArray[np.float32]:
    """`[channels, height, width]` normals; `last` is the counter's fourth word. See the package for the layout."""
    first_block, last_block = left >> 2, (left + width - 1) >> 2
    blocks = np.arange(first_block, last_block + 1, dtype=np.int64).astype(np.uint32)
    lines = np.arange(top, top + height, dtype=np.int64).astype(np.uint32)
    out = np.empty((channels, height, len(blocks), 4), np.float32)
    step = max(1, CHUNK // len(blocks))
    for channel in range(channels):
        for start in range(0, height, step):
            part = lines[start : start + step]
            shape = (len(part), len(blocks))
            counter = (
                np.ascontiguousarray(np.broadcast_to(blocks[None, :], shape)),
                np.ascontiguousarray(np.broadcast_to(part[:, None], shape)),
                np.full(shape, channel, np.uint32),
                np.full(shape, last, np.uint32),
            )
            words = philox(counter, key)
            target = out[channel, start : start + step]
            target[..., 0], target[..., 1] = normal_pair(words[0], words[1])
            target[..., 2], target[..., 3] = normal_pair(words[2], words[3])
    skip = left - 4 * first_block
    return np.ascontiguousarray(out.reshape(channels, height, -1)[:, :, skip : skip + width])
