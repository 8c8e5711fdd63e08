"""Axes of a manifest's shapes: N, H, W, and multiples such as 8H."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["length_of", "parse_axis", "shape_of"]

AXIS = re.compile(r"([0-9]*)([NHW])")


def parse_axis(axis: str) -> tuple[int, str] | None:
    """How many times which letter; None for what is no axis of ours."""
    match = AXIS.fullmatch(axis)
    return (int(match[1] or 1), match[2]) if match else None


def length_of(axis: str, lengths: Mapping[str, int]) -> int:
    """The length of `axis` where each letter has its own."""
    parsed = parse_axis(axis)
    assert parsed is not None, axis  # the manifest's schema has no other axes
    times, letter = parsed
    return times * lengths[letter]


def shape_of(shape: Iterable[int | str], n: int, height: int, width: int) -> tuple[int, ...]:
    """The numbers of a manifest's shape for one batch and tile."""
    lengths = {"N": n, "H": height, "W": width}
    return tuple(axis if isinstance(axis, int) else length_of(axis, lengths) for axis in shape)
