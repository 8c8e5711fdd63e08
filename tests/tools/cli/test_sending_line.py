"""The progress line of several files at once."""

from __future__ import annotations

import io
from pathlib import Path

from lqhq.tools.cli.sending_line import SendingLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def last(stream: io.StringIO) -> str:
    return stream.getvalue().split("\r")[-1].rstrip()


def test_what_runs_and_what_has_ended() -> None:
    stream = Terminal()
    line = SendingLine(stream, files=9)
    assert line.shown
    line.update(Path("in/a.png"), 1, 4, 63.2)
    assert last(stream) == "[0/9] a.png 1/4 1:03 left"
    line.update(Path("in/b.png"), 0, 2, 0.0)
    line.update(Path("in/a.png"), 2, 4, 0.0)
    assert last(stream) == "[0/9] a.png 2/4  b.png 0/2"
    line.end(Path("in/a.png"))
    assert last(stream) == "[1/9] b.png 0/2"
    line.end(Path("in/never-begun.png"))
    assert last(stream) == "[2/9] b.png 0/2"


def test_three_files_are_enough_and_names_drive_no_terminal() -> None:
    stream = Terminal()
    line = SendingLine(stream, files=9)
    for name in ("a", "b\x1b[31m", "c", "d"):
        line.update(Path(name), 0, 1, 0.0)
    assert last(stream) == "[0/9] a 0/1  b?[31m 0/1  c 0/1  ..."
    line.clear()
    assert last(stream) == ""


def test_silent_where_nobody_looks() -> None:
    stream = io.StringIO()
    line = SendingLine(stream, files=1)
    line.update(Path("a"), 0, 1, 0.0)
    line.end(Path("a"))
    line.clear()
    assert not line.shown
    assert stream.getvalue() == ""
