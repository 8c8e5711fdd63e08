"""Calls over real sockets are counted by the status that their callers see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lqhq.server.access.token_file import TokenFile
from lqhq.server.access.token_interceptor import TokenInterceptor
from lqhq.server.access.unary_reading import UnaryReadingInterceptor
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.metrics.rpc_interceptor import RpcMetricsInterceptor

FROM_CORE = "Internal error from Core"  # see tests/server/access/conftest.py
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class Counted(Metrics):
    """Remembers how calls ended, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[tuple[str, str]] = []
        self.running = 0

    def rpc_began(self) -> None:
        self.running += 1

    def rpc_ended(self, method: str, code: str) -> None:
        self.running -= 1
        self.ended.append((method, code))


async def behave(message: bytes, context: Any) -> bytes:
    if message == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "as asked for")
    if message == b"set":
        context.set_code(grpc.StatusCode.DATA_LOSS)
    if message == b"raise":
        raise ValueError("as asked for")
    if message == b"wait":
        await asyncio.sleep(60)
    return b"ok"


async def unary_stream(message: bytes, context: Any) -> AsyncIterator[bytes]:
    yield await behave(message, context)


async def stream_unary(messages: AsyncIterator[bytes], context: Any) -> bytes:
    return b"".join([await behave(message, context) async for message in messages])


async def stream_stream(messages: AsyncIterator[bytes], context: Any) -> None:
    async for message in messages:
        await context.write(await behave(message, context))


HANDLERS = {
    "unary_unary": grpc.unary_unary_rpc_method_handler(behave),
    "unary_stream": grpc.unary_stream_rpc_method_handler(unary_stream),
    "stream_unary": grpc.stream_unary_rpc_method_handler(stream_unary),
    "stream_stream": grpc.stream_stream_rpc_method_handler(stream_stream),
}

METHODS = frozenset(f"/t.T/{kind}" for kind in KINDS)


async def ask(channel: grpc.aio.Channel, kind: str, message: bytes, timeout: float = 20) -> str:
    """The name of the status that the caller sees."""
    sent: Any = iter([message]) if kind.startswith("stream") else message
    call = getattr(channel, kind)(f"/t.T/{kind}")(sent, timeout=timeout)
    try:
        if kind.endswith("stream"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        if error.details() == FROM_CORE:
            return await ask(channel, kind, message, timeout)
        return error.code().name
    return (await call.code()).name


def talked(interceptors: list[Any], talk: Any) -> None:
    async def all_of_it() -> None:
        server = grpc.aio.server(interceptors=interceptors)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", HANDLERS),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await talk(channel)
        await server.stop(None)

    asyncio.run(all_of_it())


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_call_and_end(counted: Counted, kind: str) -> None:
    expected = {b"": "OK", b"abort": "NOT_FOUND", b"set": "DATA_LOSS", b"raise": "UNKNOWN"}

    async def talk(channel: grpc.aio.Channel) -> None:
        for message, code in expected.items():
            assert await ask(channel, kind, message) == code

    talked([RpcMetricsInterceptor(counted, METHODS)], talk)
    assert counted.ended == [(f"/t.T/{kind}", code) for code in expected.values()]
    assert counted.running == 0


@pytest.mark.parametrize("kind", KINDS)
def test_callers_that_go(counted: Counted, kind: str) -> None:
    """After their deadline, or before it."""

    async def talk(channel: grpc.aio.Channel) -> None:
        assert await ask(channel, kind, b"wait", timeout=0.2) == "DEADLINE_EXCEEDED"
        gone = asyncio.create_task(ask(channel, kind, b"wait"))
        while counted.running + len(counted.ended) < 2:
            await asyncio.sleep(0.01)
        gone.cancel()
        while len(counted.ended) < 2:
            await asyncio.sleep(0.01)

    talked([RpcMetricsInterceptor(counted, METHODS)], talk)
    late, gone = counted.ended
    assert gone == (f"/t.T/{kind}", "CANCELLED")
    assert late[1] in ("DEADLINE_EXCEEDED", "CANCELLED")  # on a busy machine the caller's clock may be far ahead
    assert counted.running == 0


@pytest.mark.parametrize(
    ("left", "code"),
    [(None, "CANCELLED"), (60.0, "CANCELLED"), (0.05, "DEADLINE_EXCEEDED"), (-1.0, "DEADLINE_EXCEEDED")],
)
def test_who_gives_up_when_time_is_over_was_late(counted: Counted, left: float | None, code: str) -> None:
    class Call:
        def time_remaining(self) -> float | None:
            return left

    async def run() -> None:
        async def given_up(message: bytes, context: Any) -> None:
            raise asyncio.CancelledError

        async def found(details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(given_up)

        (method, *_) = METHODS
        details: Any = type("Details", (), {"method": method})
        handler = await RpcMetricsInterceptor(counted, METHODS).intercept_service(found, details)
        with pytest.raises(asyncio.CancelledError):
            await handler.unary_unary(b"", Call())

    asyncio.run(run())
    assert [told for _, told in counted.ended] == [code]


def test_messages_that_grpc_refuses_are_calls_that_were_given_up(counted: Counted) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        assert await ask(channel, "unary_unary", b"x" * (5 << 20)) == "RESOURCE_EXHAUSTED"  # 4 MiB by default
        while not counted.ended:
            await asyncio.sleep(0.01)

    talked([RpcMetricsInterceptor(counted, METHODS), UnaryReadingInterceptor(30)], talk)
    assert counted.ended == [("/t.T/unary_unary", "CANCELLED")]


def test_made_up_methods_share_one_series(counted: Counted) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        for name in ("/t.T/a", "/t.T/b", "/c/d"):
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(name)(b"", timeout=20)

    talked([RpcMetricsInterceptor(counted, METHODS)], talk)
    assert counted.ended == [("other", "UNIMPLEMENTED")] * 3


def test_what_the_tokens_refuse_counts_too(counted: Counted, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("0123456789abcdef\n")
    tokens = TokenInterceptor(TokenFile(path, log=lambda event, **fields: None))

    async def talk(channel: grpc.aio.Channel) -> None:
        for kind in KINDS:
            assert await ask(channel, kind, b"") == "UNAUTHENTICATED"
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await channel.unary_unary("/made/up")(b"", timeout=20)

    talked([RpcMetricsInterceptor(counted, METHODS), tokens], talk)
    ended = list(dict.fromkeys(counted.ended))
    assert ended == [*((f"/t.T/{kind}", "UNAUTHENTICATED") for kind in KINDS), ("other", "UNAUTHENTICATED")]
