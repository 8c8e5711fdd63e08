"""Errors on their way from a worker: their class and text arrive, their traceback stays in the worker's log."""

from __future__ import annotations

from lqhq.runtime import errors
from lqhq.runtime.errors import EngineError, LqhqError
from lqhq.server.workers.messages import Failure

__all__ = ["as_failure", "error_of"]

MOST_TEXT = 1000  # characters of each part: they end as the details of a status
EXPECTED = {name: kind for name, kind in vars(errors).items() if name in errors.__all__}


def as_failure(where: str, error: BaseException) -> Failure:
    """What is sent of `error`, which happened at `where`."""
    if isinstance(error, LqhqError):
        parts = (error.where, error.found, error.expected, error.mend)
        return Failure(type(error).__name__, *(part[:MOST_TEXT] for part in parts))
    text = " ".join(str(error).split())[:MOST_TEXT]
    if isinstance(error, MemoryError):
        return Failure("MemoryError", where, text or "no memory", "", "")
    return Failure(
        "EngineError",
        where,
        f"{type(error).__name__}: {text}"[:MOST_TEXT],
        "an engine that runs",
        "The worker's log has more; if `lqhq doctor` is well, please report it.",
    )


def error_of(failure: Failure) -> LqhqError | MemoryError:
    """The error that `failure` tells of; an `EngineError` where its class is none of ours."""
    if failure.kind == "MemoryError":
        return MemoryError(f"{failure.where}: {failure.found}")
    kind: type[LqhqError] = EXPECTED.get(failure.kind, EngineError)
    return kind(failure.where, found=failure.found, expected=failure.expected, mend=failure.mend)
