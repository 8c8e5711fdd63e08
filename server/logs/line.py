"""One event as one line: text for people, JSON for machines.

Values may be a caller's words. No byte of theirs leaves as it came, unless it is plain ASCII: a line break would forge
a line, an escape sequence would act on a terminal, a bidirectional mark would turn the line around.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

__all__ = ["json_line", "text_line"]

MAX_TEXT = 500  # characters of one value
PLAIN = re.compile(r"[A-Za-z0-9_./:@+-]+")


def text_line(time: datetime, event: str, fields: Mapping[str, Any]) -> str:
    """`2026-01-31T23:59:59.123Z event key=value key="two words"`, with a line break at the end."""
    told = "".join(f" {name}={_word(value)}" for name, value in fields.items())
    return f"{_stamp(time)} {_bare(event)}{told}\n"


def json_line(time: datetime, event: str, fields: Mapping[str, Any]) -> str:
    """An object in ASCII, with a line break at the end. `time` and `event` are the line's own, whatever fields say."""
    told = {name: _value(value) for name, value in fields.items() if name not in ("time", "event")}
    return json.dumps({"time": _stamp(time), "event": _bare(event), **told}) + "\n"


def _stamp(time: datetime) -> str:
    return f"{time.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _bare(event: str) -> str:
    """Without the quotes of a text."""
    told = _short(event)
    return told if PLAIN.fullmatch(told.replace(" ", "")) else json.dumps(told)[1:-1]


def _word(value: Any) -> str:
    told = _value(value)
    if not isinstance(told, str):
        return repr(told) if type(told) in (int, float) else json.dumps(told)  # what JSON says, ten times as fast
    return told if PLAIN.fullmatch(told) else json.dumps(told)


def _value(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else _short(hex(value))
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)  # JSON has no NaN
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."
