"""Integer pixel geometry: boxes are (top, left, height, width), everywhere."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Box", "Size", "round_up"]


def round_up(length: int, multiple: int) -> int:
    """The least multiple of `multiple` that is not below `length`."""
    return -(-length // multiple) * multiple


class Size(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int

    def scaled(self, factor: int) -> Size:
        return Size(self.height * factor, self.width * factor)

    @property
    def pixels(self) -> int:
        return self.height * self.width


class Box(NamedTuple):
    """A rectangle of a canvas; `top` and `left` may be negative only where a reader says so."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def size(self) -> Size:
        return Size(self.height, self.width)

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)
