"""Standard normal noise that belongs to the pixel: the same values whatever the tile, batch or worker.

Philox-4x32-10 (Salmon et al., SC 2011) keyed and counted like this, once and for all:

- key: (seed mod 2^32, seed div 2^32); the low word is the user's seed, the high word numbers the image
- counter: (x div 4, y, channel, stream * 2^16 + row), two's complement where negative
- the four words of one block are the pixels x = 4k, 4k+1, 4k+2, 4k+3

`x` and `y` count from the canvas's first pixel (padding lies to the right and below, so it moves nothing); of a vector
per image, `x` is the index, and `y`, channel and row are zero. Words
become normals in pairs (first with second, third with fourth) by Box-Muller, with the constants that Triton's `randn`
uses, so that a GPU kernel gives equal integers and floats within 1e-6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.noise.reference import normal_block

__all__ = ["STREAMS", "normal"]

STREAMS = {"start": 0, "step": 1, "prior": 2}


def normal(
    *, seed: int, stream: str, row: int, channels: int, top: int, left: int, height: int, width: int
) -> NDArray[np.float32]:
    """N(0, 1) values `[channels, height, width]` float32 of one box of the canvas.

    `seed` in [0, 2^64), `stream` one of `STREAMS`, `row` in [0, 2^16). Raises `ValueError` outside these.
    """
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed: found {seed}; expected 0 to 2^64 - 1")
    if not 0 <= row < 1 << 16:
        raise ValueError(f"row: found {row}; expected 0 to 65535")
    key = (seed & 0xFFFFFFFF, seed >> 32)
    return normal_block(key, STREAMS[stream] << 16 | row, channels, top, left, height, width)
