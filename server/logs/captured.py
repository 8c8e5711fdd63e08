"""What libraries report by Python's own logging (gRPC, asyncio), into our log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["captured_logging"]


class _Into(logging.Handler):
    def __init__(self, log: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, str] = {"logger": record.name, "level": record.levelname, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = repr(record.exc_info[1])
        self._log("library", **fields)


@contextmanager
def captured_logging(log: Callable[..., None]) -> Iterator[None]:
    """While it lasts, warnings and errors of all libraries are lines of `log`."""
    handler, root = _Into(log), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
