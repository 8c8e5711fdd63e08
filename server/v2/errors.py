"""What can be wrong with a request beyond what the runtime knows: its form, its model, the moment it comes.

LqhqError
├── DeadlineError      the request's time is over
├── OverloadError      there is no room now; the same request may be let in later
├── RequestError       a message that breaks the protocol, or asks for what it cannot mean
├── UnknownModelError  no model of that name or version is served
├── UnavailableError   the model or the server takes no request now, or the request waited too long
└── UnsupportedError   a part of the protocol that is not offered
"""

from __future__ import annotations

from lqhq.runtime.errors import LqhqError

__all__ = [
    "DeadlineError",
    "OverloadError",
    "RequestError",
    "UnavailableError",
    "UnknownModelError",
    "UnsupportedError",
]


class DeadlineError(LqhqError):
    """The request's time is over, wherever it stood; or its caller was waited for in vain."""


class OverloadError(LqhqError):
    """There is no room now. `retry_after_ms` says when to come back; None where nobody can say."""

    def __init__(
        self, where: str, *, found: str, expected: str, mend: str, retry_after_ms: float | None = None
    ) -> None:
        super().__init__(where, found=found, expected=expected, mend=mend)
        self.retry_after_ms = retry_after_ms


class RequestError(LqhqError):
    """A message that breaks the protocol, or asks for what it cannot mean. `where` names the tensor or parameter."""


class UnknownModelError(LqhqError):
    """No model of that name or version is served."""


class UnavailableError(LqhqError):
    """The model or the server takes no request now, or the request waited longer than it allowed."""


class UnsupportedError(LqhqError):
    """A part of the protocol that is not offered."""
