"""Sizes of memory as people write them: 800M, 1.5G, 4GiB."""

from __future__ import annotations

import argparse
import re

__all__ = ["memory_size"]

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def memory_size(text: str) -> int:
    """Bytes of `text`. Raises `argparse.ArgumentTypeError`, which argparse shows with the option's name."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]I?)?B?", text.strip().upper())
    size = int(float(match[1]) * UNITS[match[2] or ""]) if match else 0
    if size <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it like 800M or 1.5G")
    return size
