"""What a worker prints becomes lines, however it comes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lqhq.server.workers.output import MOST_LINE, Output


@pytest.fixture
def pipe() -> Iterator[tuple[Output, int]]:
    read, write = os.pipe()
    yield Output(os.fdopen(read, "rb", buffering=0)), write
    os.close(write)


def test_lines_are_put_together(pipe: tuple[Output, int]) -> None:
    output, write = pipe
    assert output.read() == []
    os.write(write, b"one\ntw")
    assert output.read() == ["one"]
    os.write(write, b"o\n\n  \nthree \xff\n")
    assert output.read() == ["two", "three \ufffd"]
    os.write(write, b"the last")
    assert not output.ended
    os.close(os.dup(write))
    assert output.close() == []  # the other end is open still: half a line is no line


def test_the_last_words_are_heard() -> None:
    read, write = os.pipe()
    output = Output(os.fdopen(read, "rb", buffering=0))
    os.write(write, b"first\n" + b"x" * (3 * MOST_LINE) + b"\nlast")
    os.close(write)
    lines = output.close()
    assert [lines[0], lines[-1]] == ["first", "last"]
    assert output.ended
    assert all(len(line) <= MOST_LINE for line in lines)


def test_a_line_without_an_end_takes_no_memory(pipe: tuple[Output, int]) -> None:
    output, write = pipe
    for _ in range(20):
        os.write(write, b"y" * MOST_LINE)
        assert sum(map(len, output.read())) <= MOST_LINE
        assert len(output._rest) <= MOST_LINE
    output.close()
