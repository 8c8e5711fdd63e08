"""A call that ended with a gRPC status: what it means, whether another try helps, and as which error it is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from grpc import StatusCode

from lqhq.runtime.errors import CancelledError, LimitError, LqhqError
from lqhq.server.client.errors import AccessError, ServerError, UnreachableError
from lqhq.server.v2.errors import (
    DeadlineError,
    OverloadError,
    RequestError,
    UnavailableError,
    UnknownModelError,
    UnsupportedError,
)

__all__ = ["RETRY_AFTER", "CallFailed", "Failure", "error_of", "failure_of"]

RETRY_AFTER = "retry-after-ms"  # trailing metadata
# As every LqhqError speaks; the server sends that text as the status' details.
SPOKEN = re.compile(r"(.+?): found (.+?); expected (.+?)\. (.+)", re.DOTALL)
TOO_LARGE = "larger than max"  # gRPC's own words for a message above a limit of either side
BROKEN_PAIR = "Failed to create security handshaker"  # no more than that is said of a key that does not fit
CERTIFICATE = (BROKEN_PAIR, "CERTIFICATE_VERIFY_FAILED", "Hostname Verification", "SSL_ERROR", "Ssl handshake", "TSI_")
CLASSES: Mapping[StatusCode, type[LqhqError]] = {
    StatusCode.INVALID_ARGUMENT: RequestError,
    StatusCode.OUT_OF_RANGE: RequestError,
    StatusCode.FAILED_PRECONDITION: RequestError,
    StatusCode.ALREADY_EXISTS: RequestError,
    StatusCode.NOT_FOUND: UnknownModelError,
    StatusCode.UNIMPLEMENTED: UnsupportedError,
    StatusCode.UNAVAILABLE: UnavailableError,
    StatusCode.RESOURCE_EXHAUSTED: OverloadError,
    StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    StatusCode.CANCELLED: CancelledError,
    StatusCode.UNAUTHENTICATED: AccessError,
    StatusCode.PERMISSION_DENIED: AccessError,
}
MENDS: Mapping[StatusCode, str] = {
    StatusCode.UNIMPLEMENTED: "Check that an lqhq server of this version or newer runs there.",
    StatusCode.UNAVAILABLE: "Check the address, that `lqhq serve` runs there, and if it wants TLS or a certificate.",
    StatusCode.RESOURCE_EXHAUSTED: "Try again later, or with fewer requests at once.",
    StatusCode.DEADLINE_EXCEEDED: "Allow more time, or ask when the server has less to do.",
    StatusCode.CANCELLED: "Ask again; the server, or something between, ended the call.",
    StatusCode.UNAUTHENTICATED: "Give a token that stands in the server's token file.",
    StatusCode.PERMISSION_DENIED: "Ask whoever runs the server for the right to do this.",
}


class Failure(NamedTuple):
    """The end of a call. `retry_after_s` is what the server asked to wait, None where it said nothing."""

    code: StatusCode
    details: str
    retry_after_s: float | None = None

    @property
    def too_large(self) -> bool:
        """A message was above a limit of gRPC: the same call can never succeed."""
        return self.code is StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in self.details

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed later: the server is away or busy."""
        if self.code is StatusCode.UNAVAILABLE:
            return not _about_certificates(self.details)
        return self.code is StatusCode.RESOURCE_EXHAUSTED and not self.too_large


class CallFailed(Exception):  # noqa: N818  it never leaves the client
    """Carries a failure from where calls are made to where it is judged."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.details)


def failure_of(code: StatusCode, details: str | None, trailing: Iterable[Any] | None) -> Failure:
    """A failure from the parts of a status. A hint that is no whole number of milliseconds is as good as none."""
    hints = [value for key, value in trailing or () if key == RETRY_AFTER]
    hint = str(hints[-1]) if hints else ""
    after = int(hint) / 1000 if re.fullmatch("[0-9]{1,9}", hint) else None
    return Failure(code, details or "no details", after)


def error_of(failure: Failure, address: str, *, tries: int = 1) -> LqhqError:
    """The error that is raised for `failure` of a call to `address`, after so many tries."""
    spoken = SPOKEN.fullmatch(failure.details)
    kind = CLASSES.get(failure.code, ServerError)
    if failure.too_large:
        kind = LimitError
    elif failure.code is StatusCode.UNAVAILABLE and not spoken:
        kind = UnreachableError  # gRPC's words, not the server's
    again = f" (tried {tries} times)" if tries > 1 else ""
    if spoken:
        where, found, expected, mend = spoken.groups()
        return _made(kind, where, found, expected, mend + again, failure)
    return _made(kind, address, *_told(failure), failure=failure, again=again)


def _told(failure: Failure) -> tuple[str, str, str]:
    """Found, expected and mend for a status whose text is not the server's own."""
    details = failure.details[:500]
    if failure.too_large:
        return details, "messages within the limits of both sides", "Send a smaller image, or ask for another format."
    if failure.code is StatusCode.UNAVAILABLE and BROKEN_PAIR in details:
        return details, "a certificate and the key that belongs to it", "Give the --cert and --key of one pair."
    if failure.code is StatusCode.UNAVAILABLE and _about_certificates(details):
        mend = "Give the authority that signed the server's certificate, and an address that the certificate names."
        return details, "a TLS connection that both sides trust", mend
    expected = "an lqhq server that answers" if failure.code is StatusCode.UNAVAILABLE else "success"
    mend = MENDS.get(failure.code, "Look into the server's log.")
    return f"{failure.code.name}: {details}", expected, mend


def _made(
    kind: type[LqhqError], where: str, found: str, expected: str, mend: str, failure: Failure, again: str = ""
) -> LqhqError:
    said: dict[str, Any] = {"found": found, "expected": expected, "mend": mend + again}
    if issubclass(kind, OverloadError):
        said["retry_after_ms"] = None if failure.retry_after_s is None else round(failure.retry_after_s * 1000)
    return kind(where, **said)


def _about_certificates(details: str) -> bool:
    return any(words in details for words in CERTIFICATE)
