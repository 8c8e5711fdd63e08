"""One line at the bottom of a terminal, written over and over. Silent where the stream is none."""

from __future__ import annotations

from typing import TextIO

__all__ = ["TerminalLine", "clock"]


class TerminalLine:
    """`shown` says whether anybody looks; call `clear` before other output."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.shown = stream, stream.isatty()
        self._width = 0

    def write(self, text: str) -> None:
        """Put `text` where the line is."""
        if self.shown:
            self._stream.write("\r" + text.ljust(self._width))
            self._stream.flush()
            self._width = len(text)

    def clear(self) -> None:
        """Remove the line."""
        if self.shown and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0


def clock(seconds: float) -> str:
    """Minutes and seconds, like 3:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
