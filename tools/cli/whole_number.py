"""Whole numbers on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["whole_number"]


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A check of what no image could make right, before any image is opened."""

    def number(text: str) -> int:
        # Twenty digits hold every number up to 2^64; isdecimal alone takes digits of other scripts, too.
        if len(text) > 20 or not (text.isascii() and text.isdecimal()) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {low} to {high}")
        return int(text)

    return number
