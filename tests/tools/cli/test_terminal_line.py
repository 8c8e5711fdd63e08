"""The one line that is written over and over."""

from __future__ import annotations

import io

import pytest

from lqhq.tools.cli.terminal_line import TerminalLine, clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_shorter_text_covers_a_longer_one_and_clear_leaves_nothing():
    stream = Terminal()
    line = TerminalLine(stream)
    line.clear()
    assert stream.getvalue() == ""
    line.write("12345")
    line.write("1")
    assert stream.getvalue() == "\r12345\r1    "
    line.clear()
    line.clear()
    assert stream.getvalue() == "\r12345\r1    \r \r"


def test_nothing_is_written_where_nobody_looks():
    stream = io.StringIO()
    line = TerminalLine(stream)
    line.write("text")
    line.clear()
    assert (line.shown, stream.getvalue()) == (False, "")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (67.9, "1:07"), (3600, "60:00")])
def test_a_clock_has_minutes_and_seconds(seconds, text):
    assert clock(seconds) == text
