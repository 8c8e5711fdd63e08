"""Who makes the call that runs, for the log."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["CALLER"]

CALLER: ContextVar[str] = ContextVar("caller", default="")  # the name of its token, "" where tokens have none
