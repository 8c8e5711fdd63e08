"""The progress line."""

from __future__ import annotations

import io
from pathlib import Path

from lqhq.runtime.file_plan import FilePair
from lqhq.tools.cli import progress
from lqhq.tools.cli.progress import ProgressLine

PAIR = FilePair(Path("in/a.png"), Path("out/a.png"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rate_and_time_left(monkeypatch):
    clock = iter([0.0, 10.0, 12.0, 14.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = Terminal()
    line = ProgressLine(stream, files=3)
    for done in (1, 2, 3):
        line.update(1, PAIR, done, 13)
    assert stream.getvalue().split("\r")[-1].strip() == "[2/3] a.png  tile 3/13  0.50 tiles/s  0:20 left"
    line.clear()
    assert stream.getvalue().endswith("\r")


def test_nothing_is_written_where_nobody_looks():
    stream = io.StringIO()
    line = ProgressLine(stream, files=1)
    line.update(0, PAIR, 1, 2)
    line.clear()
    assert stream.getvalue() == ""


def test_a_name_cannot_drive_the_terminal():
    stream = Terminal()
    ProgressLine(stream, files=1).update(0, FilePair(Path("in/a\n\x1b[2J.png"), Path("x.png")), 1, 2)
    assert "a??[2J.png" in stream.getvalue()
