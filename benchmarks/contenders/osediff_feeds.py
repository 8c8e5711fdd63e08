"""What the stages of OSEDiff are given in a contest: the same arrays in every process."""

from __future__ import annotations

from typing import Any

import numpy as np
from measuring.scene import scene
from numpy.typing import NDArray

__all__ = ["FACTOR", "STAGES", "stage_feed"]

SEED = 20_261_126
STAGES = ("text", "encode", "denoise", "decode")
FACTOR, CHANNELS, TOKENS = 8, 4, 77
PROMPT = 12  # tokens of it, first and last included


def stage_feed(role: str, side: int, width: int, words: int) -> dict[str, NDArray[Any]]:
    """`side` in latents; `width` of the condition, `words` of the vocabulary. Latents and condition are N(0, 1)."""
    draw = np.random.default_rng(SEED)
    state = draw.standard_normal((1, CHANNELS, side, side), dtype=np.float32)
    if role == "text":
        ids = np.zeros((1, TOKENS), np.int64)
        ids[0, :PROMPT] = draw.integers(1, words - 2, PROMPT)
        ids[0, 0], ids[0, PROMPT - 1] = words - 2, words - 1
        return {"ids": ids}
    if role == "encode":
        image = scene(FACTOR * side, FACTOR * side).astype(np.float32) / 127.5 - 1
        return {"lq": np.ascontiguousarray(image.transpose(2, 0, 1))[None], "noise": np.zeros_like(state)}
    if role == "denoise":
        return {"state": state, "cond": draw.standard_normal((1, TOKENS, width), dtype=np.float32)}
    return {"state": state}
