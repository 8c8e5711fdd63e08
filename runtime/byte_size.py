"""Sizes of memory as people write them: 800M, 1.5G, 4GiB, 1TB."""

from __future__ import annotations

import re

__all__ = ["byte_size"]

LETTERS = "KMGT"
# Fifteen digits are exact in a float, and more than any machine has.
SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?:([KMGT])(I)?)?B?", re.IGNORECASE)


def byte_size(text: str) -> int:
    """Bytes of `text`: K, M, G and T are powers of 1000, of 1024 with an `i` after them; `B` changes nothing.

    Raises `ValueError` for what is no size, and for less than one byte.
    """
    match = SIZE.fullmatch(text.strip())
    size = 0
    if match:
        power = LETTERS.index(match[2].upper()) + 1 if match[2] else 0
        size = int(float(match[1]) * (1024 if match[3] else 1000) ** power)
    if size <= 0:
        raise ValueError(f"{text[:40]!r} is not a size; write it like 800M or 1.5G")
    return size
