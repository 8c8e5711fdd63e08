"""Errors arrive with their class and their text."""

from __future__ import annotations

import pytest

from lqhq.runtime.errors import BundleError, EngineError, LqhqError, OptionError
from lqhq.server.workers.failures import MOST_TEXT, as_failure, error_of
from lqhq.server.workers.messages import Failed, Failure, decode_answer, encode


def sent(where: str, error: BaseException) -> BaseException:
    answer = decode_answer(encode(Failed(3, as_failure(where, error))))
    assert isinstance(answer, Failed)
    return error_of(answer.failure)


@pytest.mark.parametrize("kind", [BundleError, EngineError, OptionError, LqhqError])
def test_ours_arrive_as_they_were(kind: type[LqhqError]) -> None:
    error = kind("graphs.decode", found="x", expected="y", mend="Do z.")
    found = sent("decode", error)
    assert type(found) is kind
    assert str(found) == str(error)


def test_memory_stays_memory() -> None:
    found = sent("decode", MemoryError("12 bytes"))
    assert isinstance(found, MemoryError)
    assert "decode: 12 bytes" in str(found)
    assert "no memory" in str(sent("decode", MemoryError()))


def test_anything_else_is_an_engine_error_that_names_it() -> None:
    found = sent("decode", ZeroDivisionError("by\n zero"))
    assert isinstance(found, EngineError)
    assert "decode: found ZeroDivisionError: by zero" in str(found)


def test_texts_are_cut_and_foreign_classes_are_engine_errors() -> None:
    assert len(str(sent("x", ValueError("a" * 10_000)))) < 2 * MOST_TEXT
    long = LqhqError("w" * 5000, found="f" * 5000, expected="", mend="")
    assert len(str(sent("x", long))) < 3 * MOST_TEXT
    assert type(error_of(Failure("SystemExit", "a", "b", "c", "d"))) is EngineError
