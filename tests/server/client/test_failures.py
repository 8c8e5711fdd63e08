"""Statuses into errors, and which of them another try may mend."""

from __future__ import annotations

import pytest
from grpc import StatusCode as Code

from lqhq.runtime.errors import LimitError, LqhqError, OptionError
from lqhq.server.client.errors import AccessError, ServerError, UnreachableError
from lqhq.server.client.failures import CLASSES, Failure, error_of, failure_of
from lqhq.server.v2.errors import OverloadError, RequestError, UnavailableError

REFUSED = "failed to connect to all addresses; last error: Connection refused"
CERTIFICATE = "Ssl handshake failed: SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED: self-signed certificate"


def test_the_servers_own_words_come_back_part_by_part() -> None:
    told = OptionError("tile", found="3", expected="at least 8", mend="Use a tile of 8 or more. Or none.")
    error = error_of(Failure(Code.INVALID_ARGUMENT, str(told)), "host:1")
    assert type(error) is RequestError
    assert (error.where, error.found, error.expected) == (told.where, told.found, told.expected)
    assert str(error) == str(told)
    assert str(error_of(Failure(Code.UNAVAILABLE, str(told)), "host:1", tries=3)) == f"{told} (tried 3 times)"


def test_other_words_are_told_with_the_address() -> None:
    error = error_of(Failure(Code.INTERNAL, "boom"), "host:1")
    assert type(error) is ServerError
    assert str(error).startswith("host:1: found INTERNAL: boom; expected success.")
    assert type(error_of(Failure(Code.UNAUTHENTICATED, "who?"), "host:1")) is AccessError


def test_a_server_that_is_away_and_one_that_says_no_are_two() -> None:
    assert type(error_of(Failure(Code.UNAVAILABLE, REFUSED), "host:1")) is UnreachableError
    spoken = "model 'x': found loading; expected ready. Try again."
    assert type(error_of(Failure(Code.UNAVAILABLE, spoken), "host:1")) is UnavailableError


def test_a_key_that_does_not_fit_is_told() -> None:
    error = error_of(Failure(Code.UNAVAILABLE, "Failed to create security handshaker"), "host:1")
    assert type(error) is UnreachableError
    assert "the key that belongs to it" in str(error)


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_an_error_that_says_what_to_do(code: Code) -> None:
    error = error_of(Failure(code, "something"), "host:1")
    assert isinstance(error, LqhqError)
    assert error.mend
    assert "something" in error.found


@pytest.mark.parametrize(
    ("code", "details", "again"),
    [
        (Code.UNAVAILABLE, REFUSED, True),
        (Code.UNAVAILABLE, CERTIFICATE, False),
        (Code.RESOURCE_EXHAUSTED, "busy", True),
        (Code.RESOURCE_EXHAUSTED, "Sent message larger than max (5 vs. 4)", False),
        *((code, "any", False) for code in Code if code not in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)),
    ],
)
def test_what_is_transient(code: Code, details: str, again: bool) -> None:
    assert Failure(code, details).transient is again


def test_messages_that_are_too_large_and_certificates_have_their_own_words() -> None:
    error = error_of(Failure(Code.RESOURCE_EXHAUSTED, "Sent message larger than max (5 vs. 4)"), "host:1")
    assert type(error) is LimitError
    assert "authority" in error_of(Failure(Code.UNAVAILABLE, CERTIFICATE), "host:1").mend


@pytest.mark.parametrize(
    ("trailing", "after_s"),
    [
        ([("retry-after-ms", "1500")], 1.5),
        ([("other", "1"), ("retry-after-ms", "1"), ("retry-after-ms", "2")], 0.002),
        ([("retry-after-ms", "-5")], None),
        ([("retry-after-ms", "soon")], None),
        ([("retry-after-ms", "9" * 40)], None),
        ([], None),
        (None, None),
    ],
)
def test_hints(trailing: list[tuple[str, str]] | None, after_s: float | None) -> None:
    failure = failure_of(Code.RESOURCE_EXHAUSTED, None, trailing)
    assert failure == (Code.RESOURCE_EXHAUSTED, "no details", after_s)
    error = error_of(failure, "host:1")
    assert isinstance(error, OverloadError)
    assert error.retry_after_ms == (None if after_s is None else after_s * 1000)


def test_planted_a_missing_class_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CLASSES, Code.NOT_FOUND)  # type: ignore[arg-type]
    assert type(error_of(Failure(Code.NOT_FOUND, "x"), "host:1")) is ServerError
