"""The table of statuses is total over the error tree, and says what the protocol's facts say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from grpc import StatusCode

from lqhq.runtime.errors import EngineError, ImageError, LimitError, LqhqError
from lqhq.server.v2.errors import (
    DeadlineError,
    OverloadError,
    RequestError,
    UnavailableError,
    UnknownModelError,
    UnsupportedError,
)
from lqhq.server.v2.status import CODES, HIDDEN, MAX_TEXT, status_of


def tree(kind: type[LqhqError]) -> Iterator[type[LqhqError]]:
    for child in kind.__subclasses__():
        yield child
        yield from tree(child)


def ours() -> set[type[LqhqError]]:
    return {kind for kind in tree(LqhqError) if kind.__module__ in ("lqhq.runtime.errors", "lqhq.server.v2.errors")}


def uncovered(kinds: set[type[LqhqError]]) -> set[type[LqhqError]]:
    return {kind for kind in kinds if not any(parent in CODES for parent in kind.__mro__)}


def error(kind: type[LqhqError], found: str = "this") -> LqhqError:
    return kind("image", found=found, expected="that", mend="Do so.")


def test_every_error_has_a_status() -> None:
    assert uncovered(ours()) == set()
    assert set(CODES) == ours()


def test_planted_error_is_seen() -> None:
    class PlantedError(LqhqError):
        pass

    assert uncovered(ours() | {PlantedError}) == {PlantedError}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (RequestError, StatusCode.INVALID_ARGUMENT),
        (ImageError, StatusCode.INVALID_ARGUMENT),
        (LimitError, StatusCode.INVALID_ARGUMENT),
        (DeadlineError, StatusCode.DEADLINE_EXCEEDED),
        (OverloadError, StatusCode.RESOURCE_EXHAUSTED),
        (UnknownModelError, StatusCode.NOT_FOUND),
        (UnavailableError, StatusCode.UNAVAILABLE),
        (UnsupportedError, StatusCode.UNIMPLEMENTED),
    ],
)
def test_what_the_caller_can_mend_is_told(kind: type[LqhqError], code: StatusCode) -> None:
    assert status_of(error(kind)) == (code, "image: found this; expected that. Do so.")


def test_a_narrower_error_has_the_status_of_its_parent() -> None:
    class NarrowError(ImageError):
        pass

    assert status_of(error(NarrowError)).code is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("wrong", [error(EngineError, "/models/secret"), OSError("/models/secret"), KeyError("x")])
def test_what_is_the_servers_is_hidden(wrong: Exception) -> None:
    assert status_of(wrong) == (StatusCode.INTERNAL, HIDDEN)


def test_details_fit_a_header() -> None:
    assert len(status_of(error(ImageError, "x" * 5000)).details) == MAX_TEXT
