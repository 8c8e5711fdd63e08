"""The canvases between segments: `channels` planes of H * W float32 values, read and written by spans of pixels.

A span is pixels `start` to `stop` of every plane, row by row, so that full rows are spans, and so are tokens.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.geometry import Size

__all__ = ["Canvas", "CanvasMaker", "HeldCanvas", "Reader", "Room", "RowReader", "canvas_bytes", "new_room"]

Array = NDArray[np.float32]
Room = Callable[[int], Array]  # an array of so many float32 values
RowReader = Callable[[int, int], Array]  # (top, rows) -> [C, rows, W]: what a role is given, made when it is asked for


def new_room(values: int) -> Array:
    """A flat array of its own."""
    return np.empty(values, np.float32)


class Reader(Protocol):
    """What a segment can read."""

    def read(self, start: int, stop: int, planes: slice = slice(None), room: Room = new_room) -> Array:
        """`[planes, stop - start]`, float32, contiguous; not to be written to.

        A copy lies in `room(values)`, a flat array: the same one again and again is faster than a new one each time.
        """
        ...


class Canvas(Reader, Protocol):
    """What a segment can read and write."""

    def write(self, start: int, values: Array) -> None:
        """Store `values` `[channels, n]` at pixels `start` to `start + n`, each pixel once.

        They may be kept: give them away.
        """
        ...

    def close(self) -> None:
        """Give memory or disk back. Closing twice is allowed."""
        ...


CanvasMaker = Callable[[int, Size], Canvas]  # of channels and size
LARGE = 512 << 20  # giving back has a price, too: what comes next is cleared by the kernel first


def canvas_bytes(channels: int, size: Size) -> int:
    """What a canvas of float32 takes."""
    return channels * size.pixels * np.dtype(np.float32).itemsize


class HeldCanvas:
    """A canvas in memory: the pieces that were written, as they are. What is read of one piece alone is no copy.

    `freed` is called when a canvas of `LARGE` bytes or more is closed: pieces are of the engine's memory, where the
    next canvas, in pieces of another size, would find room only beside them.
    """

    def __init__(self, channels: int, size: Size, *, freed: Callable[[], None] = lambda: None) -> None:
        self._channels, self._freed = channels, freed
        self._large = canvas_bytes(channels, size) >= LARGE
        self._starts: list[int] = []
        self._pieces: list[Array] = []

    def read(self, start: int, stop: int, planes: slice = slice(None), room: Room = new_room) -> Array:
        first, last = bisect_right(self._starts, start) - 1, bisect_left(self._starts, stop)
        if last - first == 1:
            begin = self._starts[first]
            part = self._pieces[first][planes, start - begin : stop - begin]
            if part.flags.c_contiguous:
                return part
        count = len(range(self._channels)[planes])
        values = room(count * (stop - start)).reshape(count, -1)
        for begin, piece in zip(self._starts[first:last], self._pieces[first:last], strict=True):
            low, high = max(start, begin), min(stop, begin + piece.shape[1])
            values[:, low - start : high - start] = piece[planes, low - begin : high - begin]
        return values

    def write(self, start: int, values: Array) -> None:
        at = bisect_left(self._starts, start)
        self._starts.insert(at, start)
        self._pieces.insert(at, values)

    def close(self) -> None:
        held, self._starts, self._pieces = bool(self._pieces), [], []
        if held and self._large:
            self._freed()
