"""Lines of the log, and what hostile words come to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqhq.server.logs.line import json_line, text_line

TIME = datetime(2026, 1, 31, 23, 59, 59, 7_999, tzinfo=UTC)
HOSTILE = "a\nERROR root\x1b[2J\r\u202eb\u2028\x00\"' é\ud800"


def test_text() -> None:
    line = text_line(TIME, "request ended", {"id": "a-1", "seconds": 0.25, "error": "two words", "n": 3, "x": None})
    assert line == '2026-01-31T23:59:59.007Z request ended id=a-1 seconds=0.25 error="two words" n=3 x=null\n'


def test_json() -> None:
    line = json_line(TIME, "ended", {"id": "a", "ok": True, "nan": float("nan"), "path": ValueError("x"), "time": 1})
    assert json.loads(line) == {
        "time": "2026-01-31T23:59:59.007Z",
        "event": "ended",
        "id": "a",
        "ok": True,
        "nan": "nan",
        "path": "x",
    }


@pytest.mark.parametrize("write", [text_line, json_line])
def test_hostile_words_stay_one_line_of_plain_ascii(write: Any) -> None:
    line = write(TIME, HOSTILE, {"id": HOSTILE})
    assert line.isascii()
    assert line.endswith("\n")
    assert all(char.isprintable() for char in line[:-1])


def test_json_gives_hostile_words_back() -> None:
    assert json.loads(json_line(TIME, "x", {"id": HOSTILE}))["id"] == HOSTILE


def test_a_value_cannot_forge_another_field() -> None:
    assert text_line(TIME, "e", {"id": "a admin=true"}).endswith(' e id="a admin=true"\n')
    assert text_line(TIME, "e", {"id": 'a" admin="true'}).endswith(' e id="a\\" admin=\\"true"\n')


@pytest.mark.parametrize("write", [text_line, json_line])
def test_long_values_are_cut(write: Any) -> None:
    line = write(TIME, "e" * 10_000, {"text": "x" * 1_000_000, "number": 10**5000})
    assert len(line) < 2000
    assert "xxx..." in line


@given(event=st.text(), value=st.text() | st.floats() | st.integers() | st.binary())
def test_any_line_can_be_read_back(event: str, value: Any) -> None:
    line = json_line(TIME, event, {"v": value})
    assert set(json.loads(line)) == {"time", "event", "v"}
    assert text_line(TIME, event, {"v": value}).count("\n") == 1
