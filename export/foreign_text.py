"""Text from a checkpoint or a library in our messages: one short line, nothing that drives a terminal."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, most: int = 200) -> str:
    """The first line of `text` with letters, cut to `most` characters; others than printable ones shown as `?`."""
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    return "".join(char if char.isprintable() else "?" for char in line[:most])
