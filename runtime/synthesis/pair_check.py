"""Whether a pair is the one that the settings ask for: asked of what lies there, and of what workers give."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lqhq.runtime.synthesis.pair_key import file_digest, noise_seed, pair_key, strength_share
from lqhq.runtime.synthesis.settings import Settings

__all__ = ["Digests", "follows", "is_intact"]


class Digests:
    """SHA-256 of files, the last few remembered: pairs of one image ask for the same ones."""

    KEPT = 4

    def __init__(self) -> None:
        self._found: dict[Path, bytes | None] = {}

    def of(self, path: Path) -> bytes | None:
        """32 bytes, or None where the file cannot be read."""
        if path not in self._found:
            while len(self._found) >= self.KEPT:
                del self._found[next(iter(self._found))]
            try:
                self._found[path] = file_digest(path)
            except OSError:
                self._found[path] = None
        return self._found[path]


def follows(row: dict[str, Any], settings: Settings, digest: bytes, index: int) -> bool:
    """Whether `row` is that of pair `index` of the HQ file with this digest, with what its key draws."""
    key = pair_key(settings.seed, digest, index)
    drawn = (digest.hex(), key.hex(), noise_seed(key), settings.strengths.at(strength_share(key)))
    return drawn == tuple(row.get(name) for name in ("source_sha256", "key", "noise_seed", "strength"))


def is_intact(row: dict[str, Any], lq: bytes, hq: bytes | None) -> bool:
    """Whether the files of a pair are those that `row` was written for."""
    found = [None if data is None else hashlib.sha256(data).hexdigest() for data in (lq, hq)]
    return found == [row.get("lq_sha256"), row.get("hq_sha256")]
