"""Where events go: to a stream, one line each, with what is bound to all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TextIO

from lqhq.server.logs.line import json_line, text_line

__all__ = ["Log"]


def _now() -> datetime:
    return datetime.now(UTC)


class Log:
    """`log("request ended", model="demo", seconds=0.2)`. Safe for threads: lines never mix.

    `kind` is "text" or "json"; `stream` None is stderr as it is at each line. A stream that nobody reads any more
    takes the log with it, not the server.
    """

    def __init__(self, kind: str = "text", *, stream: TextIO | None = None, now: Callable[[], datetime] = _now) -> None:
        self._line = json_line if kind == "json" else text_line
        self._stream, self._now = stream, now
        self._bound: Mapping[str, Any] = {}
        self._lock = Lock()

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Write one line; the bound fields come first."""
        line = self._line(self._now(), event, {**self._bound, **fields})
        stream = sys.stderr if self._stream is None else self._stream
        with self._lock:
            try:
                stream.write(line)
                stream.flush()
            except (OSError, ValueError):  # a broken pipe; a closed file
                pass

    def bind(self, **fields: Any) -> Log:
        """The same log, with `fields` in every line, such as a request's id."""
        bound = Log(stream=self._stream, now=self._now)
        bound._line, bound._lock, bound._bound = self._line, self._lock, {**self._bound, **fields}
        return bound
