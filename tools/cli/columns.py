"""Plain text for a terminal: aligned columns, sizes for people, and nothing that drives the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["aligned", "clean", "size_text"]

UNITS = ("bytes", "kB", "MB", "GB")


def aligned(rows: Sequence[Sequence[str]], indent: int = 2) -> list[str]:
    """One line per row, columns padded to their widest cell and two spaces apart."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return [" " * indent + "  ".join(f"{cell:<{widths[i]}}" for i, cell in enumerate(row)).rstrip() for row in rows]


def clean(text: str) -> str:
    """Text from a bundle, with control characters (a terminal obeys some) shown as `?`, on one line."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", "?", text)


def size_text(size: int) -> str:
    """Bytes for people: three digits, powers of 1000."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{size} bytes" if unit == 0 else f"{value:.3g} {UNITS[unit]}"
