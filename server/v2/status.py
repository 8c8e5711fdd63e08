"""Which gRPC status an error leaves the server with, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from grpc import StatusCode

from lqhq.runtime.errors import (
    BundleError,
    CancelledError,
    CheckpointError,
    EngineError,
    ImageError,
    LimitError,
    LqhqError,
    OptionError,
    ScheduleError,
)
from lqhq.server.v2.errors import (
    DeadlineError,
    OverloadError,
    RequestError,
    UnavailableError,
    UnknownModelError,
    UnsupportedError,
)

__all__ = ["CODES", "Status", "status_of"]

# A limit is INVALID_ARGUMENT: the same request never succeeds, and clients try again after RESOURCE_EXHAUSTED, which
# is for what did not fit now.
CODES: Mapping[type[LqhqError], StatusCode] = {
    BundleError: StatusCode.INTERNAL,
    CancelledError: StatusCode.CANCELLED,
    CheckpointError: StatusCode.INTERNAL,
    DeadlineError: StatusCode.DEADLINE_EXCEEDED,
    EngineError: StatusCode.INTERNAL,
    ImageError: StatusCode.INVALID_ARGUMENT,
    LimitError: StatusCode.INVALID_ARGUMENT,
    OptionError: StatusCode.INVALID_ARGUMENT,
    OverloadError: StatusCode.RESOURCE_EXHAUSTED,
    RequestError: StatusCode.INVALID_ARGUMENT,
    ScheduleError: StatusCode.INVALID_ARGUMENT,
    UnavailableError: StatusCode.UNAVAILABLE,
    UnknownModelError: StatusCode.NOT_FOUND,
    UnsupportedError: StatusCode.UNIMPLEMENTED,
}
HIDDEN = "The server could not do this; its log has the reason under the request's id."
MAX_TEXT = 2000  # characters: details travel as a header, and clients take 8 KiB of headers by default


class Status(NamedTuple):
    """A gRPC status and its details, for people."""

    code: StatusCode
    details: str


def status_of(error: Exception) -> Status:
    """The status of `error`: by its class or the nearest one above it in the table, else INTERNAL.

    What is INTERNAL keeps its text to itself, since that speaks of the server's files and devices.
    """
    code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), StatusCode.INTERNAL)
    if code is StatusCode.INTERNAL:
        return Status(code, HIDDEN)
    text = str(error)
    return Status(code, text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "...")
