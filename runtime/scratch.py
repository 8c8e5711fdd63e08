"""Canvases in a scratch file, for images whose canvases do not fit the memory.

Files are read and written in pieces rather than mapped: pages of a mapping count as memory of this process for as long
as they stay mapped, so a limit on memory would not hold. A file has no name, or loses it at once, so nothing stays
behind however the process ends, and its space on the disk is taken when it is made, so that a full disk is told early.
"""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import EngineError, LimitError, LqhqError
from lqhq.runtime.geometry import Size
from lqhq.runtime.segment_canvas import Room, canvas_bytes, new_room

__all__ = ["FileCanvas", "ScratchFolder"]

Array = NDArray[np.float32]
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ITEM = np.dtype(np.float32).itemsize


class ScratchFolder:
    """Makes canvases whose values lie in files of `folder`, that of the system's temporary files by default."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder

    def __call__(self, channels: int, size: Size) -> FileCanvas:
        """A canvas. Raises `LimitError` where the disk has not the room, `EngineError` where files cannot be made."""
        return FileCanvas(self._folder, channels, size)


class FileCanvas:
    """A canvas in a nameless file of `folder`, plane after plane. See `Canvas`."""

    def __init__(self, folder: Path, channels: int, size: Size) -> None:
        self._folder, self._channels, self._plane = folder, channels, size.pixels * ITEM
        self._bytes = canvas_bytes(channels, size)
        try:
            self._file = tempfile.TemporaryFile(dir=folder, prefix="lqhq-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._fault(error) from error
        self.close = weakref.finalize(self, self._file.close)  # a job that is given up is dropped without a word
        try:
            os.posix_fallocate(self._file.fileno(), 0, self._bytes)
        except OSError as error:
            self.close()
            raise self._fault(error) from error

    def read(self, start: int, stop: int, planes: slice = slice(None), room: Room = new_room) -> Array:
        chosen = range(self._channels)[planes]
        values = room(len(chosen) * (stop - start)).reshape(len(chosen), -1)
        for row, plane in zip(values, chosen, strict=True):
            self._whole(os.preadv, row, plane, start)
        return values

    def write(self, start: int, values: Array) -> None:
        for plane, row in enumerate(values):
            self._whole(os.pwritev, np.ascontiguousarray(row), plane, start)

    def _whole(self, transfer: Callable[[int, list[memoryview], int], int], row: Array, plane: int, start: int) -> None:
        """The kernel may transfer less than was asked for, two gigabytes at most."""
        left, offset = row.view(np.uint8).data, plane * self._plane + start * ITEM
        while left:
            try:
                moved = transfer(self._file.fileno(), [left], offset)
            except OSError as error:
                raise self._fault(error) from error
            if not moved:
                raise self._fault(OSError(errno.EIO, "the scratch file is shorter than it was made"))
            left, offset = left[moved:], offset + moved

    def _fault(self, error: OSError) -> LqhqError:
        found = f"{error.strerror or error} for {self._bytes} bytes in {self._folder}"
        if error.errno in FULL:
            return LimitError(
                "scratch file",
                found=found,
                expected="room for the image's canvases",
                mend="Free disk space, name a scratch folder on another disk, or allow more --memory.",
            )
        return EngineError(
            "scratch file",
            found=found,
            expected="a folder that files can be written to",
            mend="Name another scratch folder (`--scratch`), or allow more --memory.",
        )
