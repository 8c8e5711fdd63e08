"""What makes a pair random, and the same each time: a key of the seed, the image's content and the pair's number.

Nothing else goes in: not the file's name, its place in the folder, the worker or the time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["file_digest", "noise_seed", "pair_key", "strength_share"]


def file_digest(path: Path) -> bytes:
    """The SHA-256 of a file, 32 bytes. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def pair_key(seed: int, digest: bytes, index: int) -> bytes:
    """The key, 32 bytes, of pair `index` of the file whose SHA-256 is `digest`; `seed` is 0 to 2^64 - 1."""
    return hashlib.sha256(seed.to_bytes(8, "little") + digest + index.to_bytes(8, "little")).digest()


def strength_share(key: bytes) -> float:
    """A uniform number in [0, 1), with 53 bits: where in the range of strengths the pair lies."""
    return (_drawn(key, b"strength") >> 11) * 2.0**-53


def noise_seed(key: bytes) -> int:
    """The seed of the pair's noise field, 0 to 2^63 - 1: what readers of JSON with 64-bit integers hold."""
    return _drawn(key, b"noise") >> 1


def _drawn(key: bytes, purpose: bytes) -> int:
    """64 bits that have nothing to do with those drawn for another purpose."""
    return int.from_bytes(hashlib.sha256(key + purpose).digest()[:8], "little")
