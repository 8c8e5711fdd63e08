"""The canvases between segments: `channels` planes of H * W float32 values, read and written by spans of pixels.

A span is pixels `start` to `stop` of every plane, row by row, so that full rows are spans, and so are tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.geometry import Size

__all__ = ["Canvas", "CanvasMaker", "HeldCanvas", "Reader", "RowReader", "canvas_bytes"]

Array = NDArray[np.float32]
RowReader = Callable[[int, int], Array]  # (top, rows) -> [C, rows, W]: what a role is given, made when it is asked for


class Reader(Protocol):
    """What a segment can read."""

    def read(self, start: int, stop: int, planes: slice = slice(None)) -> Array:
        """`[planes, stop - start]`, float32, contiguous; not to be written to."""
        ...


class Canvas(Reader, Protocol):
    """What a segment can read and write."""

    def write(self, start: int, values: Array) -> None:
        """Store `values` `[channels, n]` at pixels `start` to `start + n`. They may be kept: give them away."""
        ...

    def close(self) -> None:
        """Give memory or disk back. Closing twice is allowed."""
        ...


CanvasMaker = Callable[[int, Size], Canvas]  # of channels and size


def canvas_bytes(channels: int, size: Size) -> int:
    """What a canvas of float32 takes."""
    return channels * size.pixels * np.dtype(np.float32).itemsize


class HeldCanvas:
    """A canvas in memory. What is written in one piece is kept as it is, and what is read of it is no copy."""

    def __init__(self, channels: int, size: Size) -> None:
        self._shape = channels, size.pixels
        self._values: Array | None = None

    def read(self, start: int, stop: int, planes: slice = slice(None)) -> Array:
        assert self._values is not None
        return np.ascontiguousarray(self._values[planes, start:stop])

    def write(self, start: int, values: Array) -> None:
        if values.shape == self._shape:
            self._values = np.ascontiguousarray(values)
            return
        if self._values is None:
            self._values = np.empty(self._shape, np.float32)
        self._values[:, start : start + values.shape[1]] = values

    def close(self) -> None:
        self._values = None
