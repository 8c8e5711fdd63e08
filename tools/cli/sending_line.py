"""A line of progress for files that are restored at the same time. Silent when nobody looks."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from lqhq.tools.cli.columns import clean
from lqhq.tools.cli.terminal_line import TerminalLine, clock

__all__ = ["SendingLine"]

SHOWN = 3  # files; more do not fit a terminal


class SendingLine:
    """Writes to `stream` while it is a terminal, which `shown` says; call `clear` before other output."""

    def __init__(self, stream: TextIO, files: int) -> None:
        self._line, self._files, self._ended = TerminalLine(stream), files, 0
        self._running: dict[Path, str] = {}
        self.shown = self._line.shown

    def update(self, source: Path, done: int, total: int, left_s: float) -> None:
        """`done` of `total` network calls of a file are made."""
        left = f" {clock(left_s)} left" if left_s > 0 else ""
        self._running[source] = f"{clean(source.name)} {done}/{total}{left}"
        self._write()

    def end(self, source: Path) -> None:
        """The file is restored, or never will be."""
        self._ended += 1
        self._running.pop(source, None)
        self._write()

    def clear(self) -> None:
        """Remove the line."""
        self._line.clear()

    def _write(self) -> None:
        running = list(self._running.values())
        texts = [*running[:SHOWN], *(["..."] if len(running) > SHOWN else [])]
        self._line.write(f"[{self._ended}/{self._files}] " + "  ".join(texts))
