"""A line of progress for a terminal: file, tiles a second, time left. Silent when nobody looks."""

from __future__ import annotations

import time
from typing import TextIO

from lqhq.runtime.file_plan import FilePair
from lqhq.tools.cli.columns import clean
from lqhq.tools.cli.terminal_line import TerminalLine, clock

__all__ = ["ProgressLine"]


class ProgressLine:
    """Writes one line over and over to `stream` while it is a terminal; call `clear` before other output."""

    def __init__(self, stream: TextIO, files: int) -> None:
        self._line, self._files = TerminalLine(stream), files
        self._start = time.monotonic()
        self._index = -1

    def update(self, index: int, pair: FilePair, done: int, total: int) -> None:
        """`done` of `total` tiles of file `index` are finished."""
        if not self._line.shown:
            return
        now = time.monotonic()
        if index != self._index:
            self._index, self._start = index, now
            self._first = done - 1  # the clock starts with the first tile's end: opening is not the network's speed
        spent, counted = now - self._start, done - 1 - self._first
        text = f"[{index + 1}/{self._files}] {clean(pair.source.name)}  tile {done}/{total}"
        if counted > 0 and spent > 0:
            rate = counted / spent
            left = (total - done) / rate
            text += f"  {rate:.2f} tiles/s  {clock(left)} left"
        self._line.write(text)

    def clear(self) -> None:
        """Remove the line."""
        self._line.clear()
