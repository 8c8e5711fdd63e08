"""Errors leave as a status that fits its header; what a client does not take is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from grpc import StatusCode
from grpc.aio import AbortError

from lqhq.runtime.errors import EngineError, OptionError
from lqhq.server.call_edge import MAX_HEADER, CallEdge, header_text, retry_after_ms
from lqhq.server.v2.errors import OverloadError

WRONG = {"found": "this", "expected": "that", "mend": "Do so."}


class Call:
    """Stands for a call's context; one that `hangs` has a client that reads nothing."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.aborted: tuple[StatusCode, str, Sequence[tuple[str, str]]] | None = None
        self._hangs = hangs

    async def abort(self, code: StatusCode, details: str, trailing: Sequence[tuple[str, str]]) -> None:
        self.aborted = (code, details, tuple(trailing))
        if self._hangs:
            await asyncio.sleep(60)
        raise AbortError


async def failing(edge: CallEdge, call: Call, error: BaseException) -> None:
    async with edge.call(call, "id-1"):  # type: ignore[arg-type]
        raise error


def left_by(error: Exception) -> tuple[Any, list[Any]]:
    logged: list[Any] = []
    call = Call()
    edge = CallEdge(send_s=1, log=lambda event, **fields: logged.append((event, fields)))
    with pytest.raises(AbortError):
        asyncio.run(failing(edge, call, error))
    return call.aborted, logged


def test_what_the_caller_can_mend() -> None:
    told = "tile: found this; expected that. Do so."
    assert left_by(OptionError("tile", **WRONG)) == ((StatusCode.INVALID_ARGUMENT, told, ()), [])


def test_when_to_come_back() -> None:
    (code, _, trailing), _ = left_by(OverloadError("queue", **WRONG, retry_after_ms=0.2))
    assert (code, trailing) == (StatusCode.RESOURCE_EXHAUSTED, (("retry-after-ms", "1"),))
    assert retry_after_ms(OverloadError("queue", **WRONG)) is None
    assert retry_after_ms(KeyError()) is None


@pytest.mark.parametrize("error", [EngineError("/secret", **WRONG), KeyError("/secret")])
def test_what_is_hidden_is_logged(error: Exception) -> None:
    (code, details, _), logged = left_by(error)
    assert code is StatusCode.INTERNAL
    assert "/secret" not in details
    assert details.endswith("The id is id-1.")
    ((event, fields),) = logged
    assert (event, fields["id"], fields["kind"]) == ("call failed", "id-1", type(error).__name__)
    assert "/secret" in fields["error"]
    assert bool(fields["trace"]) == isinstance(error, KeyError)


def test_an_id_is_made_where_there_is_none() -> None:
    logged: list[Any] = []
    edge = CallEdge(send_s=1, log=lambda event, **fields: logged.append(fields))
    _, details = edge.told(KeyError(), "")
    assert logged[0]["id"] in details


def test_what_is_no_message_is_the_callers_fault() -> None:
    assert left_by(DecodeError("bytes"))[0][0] is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("error", [AbortError(), asyncio.CancelledError()])
def test_what_is_grpcs_own_passes(error: BaseException) -> None:
    call = Call()
    with pytest.raises(type(error)):
        asyncio.run(failing(CallEdge(send_s=1, log=print), call, error))
    assert call.aborted is None


def test_a_status_that_nobody_reads_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lqhq.server.call_edge.ABORT_S", 0.01)
    call = Call(hangs=True)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(failing(CallEdge(send_s=1, log=print), call, OptionError("tile", **WRONG)))
    assert call.aborted is not None


def travelling(text: str) -> int:
    """Bytes of a status' text in its header: gRPC's percent encoding."""
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in text.encode())


@pytest.mark.parametrize("text", ["plain", "é" * 100, "%" * 3000, "x" * 5000, "\U0001f600" * 2000, "\n" * 2000, ""])
def test_texts_fit_a_header(text: str) -> None:
    kept = header_text(text)
    assert travelling(kept) <= MAX_HEADER
    assert kept == text or text.startswith(kept.removesuffix("..."))
    assert (kept == text) == (travelling(text) <= MAX_HEADER - 3)


def test_halves_of_characters_do_not_end_the_call() -> None:
    assert header_text("a\ud800b") == "a?b"
