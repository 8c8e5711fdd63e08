"""RGB pixels as the bytes of a PNG file, and nothing else in it: no profile, no resolution, no time.

`image_write.py` writes files with what a photo carries; here results travel between processes and into archives, and
must be the same bytes wherever they were made.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["png_bytes"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
UP = 2  # each byte less the one above it
LEVEL = 2  # as `image_write.py`: higher ones take twice the time for a few per cent of photos


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """The PNG of `pixels` `[H, W, 3]`, uint8 RGB; lossless (PNG third edition, sections 5, 9 and 11)."""
    height, width, _ = pixels.shape
    flat = pixels.reshape(height, width * 3)
    rows = np.empty((height, 1 + width * 3), np.uint8)
    rows[:, 0] = UP
    rows[:, 1:] = flat
    rows[1:, 1:] -= flat[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, truecolour, no interlace
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), LEVEL)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
