"""Messages of unary calls over real sockets: those that come, and those that do not, late, broken or too large."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from lqhq.server.access.unary_reading import UnaryReadingInterceptor, time_to_begin
from lqhq.server.config.serve_config import ServeConfig

Code = grpc.StatusCode
Message = health_pb2.HealthCheckRequest
MAX_BYTES = 10_000


async def unary(message: Any, context: Any) -> Any:
    if message.service == "abort":
        await context.abort(Code.NOT_FOUND, "as asked for")
    await asyncio.sleep(0.3 if message.service == "slow" else 0)
    return message


async def listing(message: Any, context: Any) -> AsyncIterator[Any]:
    yield message
    yield message


async def writing(message: Any, context: Any) -> None:
    await context.write(message)


async def stream(messages: AsyncIterator[Any], context: Any) -> None:
    async for message in messages:
        await context.write(message)


def handlers() -> grpc.GenericRpcHandler:
    coders: Any = {"request_deserializer": Message.FromString, "response_serializer": Message.SerializeToString}
    kinds = {
        "unary": grpc.unary_unary_rpc_method_handler(unary, **coders),
        "listing": grpc.unary_stream_rpc_method_handler(listing, **coders),
        "writing": grpc.unary_stream_rpc_method_handler(writing, **coders),
        "stream": grpc.stream_stream_rpc_method_handler(stream, **coders),
    }
    return grpc.method_handlers_generic_handler("t.T", kinds)


def run(talk: Any, begin_s: float = 30) -> None:
    async def all_of_it() -> None:
        options = (("grpc.max_receive_message_length", MAX_BYTES),)
        server = grpc.aio.server(interceptors=[UnaryReadingInterceptor(begin_s)], options=options)
        server.add_generic_rpc_handlers((handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await talk(channel)
        finally:
            await server.stop(None)

    asyncio.run(all_of_it())


async def all_of(call: Any) -> list[bytes]:
    return [reply async for reply in call]


def test_messages_that_come() -> None:
    data = Message(service="x").SerializeToString()

    async def talk(channel: grpc.aio.Channel) -> None:
        assert await channel.unary_unary("/t.T/unary")(data) == data
        assert await channel.unary_unary("/t.T/unary")(b"") == b""  # an empty message is one
        assert await all_of(channel.unary_stream("/t.T/listing")(data)) == [data, data]
        assert await all_of(channel.unary_stream("/t.T/writing")(data)) == [data]
        assert await all_of(channel.stream_stream("/t.T/stream")(iter([data] * 3))) == [data] * 3

    run(talk)


def test_an_answer_may_take_longer_than_the_message() -> None:
    data = Message(service="slow").SerializeToString()

    async def talk(channel: grpc.aio.Channel) -> None:
        assert await channel.unary_unary("/t.T/unary")(data) == data

    run(talk, begin_s=0.1)


def test_statuses_go_through() -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary("/t.T/unary")(Message(service="abort").SerializeToString())
        assert await call.code() is Code.NOT_FOUND

    run(talk)


@pytest.mark.parametrize("method", ["unary", "listing", "writing"])
def test_messages_that_do_not_come(method: str) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        opened = channel.stream_stream(f"/t.T/{method}")  # on the wire as the unary one
        silent, ended = opened(), opened()
        await ended.done_writing()
        assert await ended.code() is Code.INVALID_ARGUMENT
        assert await silent.code() is Code.DEADLINE_EXCEEDED
        assert "0.2 s" in await silent.details()

    run(talk, begin_s=0.2)


@pytest.mark.parametrize("method", ["unary", "listing", "writing"])
def test_bytes_that_are_no_message(method: str) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream(f"/t.T/{method}")(iter([b"\xff\xff"]))
        assert await call.code() is Code.INVALID_ARGUMENT

    run(talk)


@pytest.mark.parametrize("method", ["unary", "listing"])
def test_messages_that_are_too_large(method: str) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream(f"/t.T/{method}")(iter([b"\x0a" + b"x" * MAX_BYTES]))
        assert await call.code() is Code.RESOURCE_EXHAUSTED
        assert "larger than max" in await call.details()

    run(talk)


def test_callers_that_go() -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        for _ in range(50):
            channel.stream_stream("/t.T/unary")().cancel()
            channel.unary_unary("/t.T/unary")(Message(service="slow").SerializeToString()).cancel()
        assert await channel.unary_unary("/t.T/unary")(b"") == b""

    run(talk)


def test_the_largest_message_has_time_on_a_slow_line() -> None:
    assert time_to_begin(ServeConfig(idle_s=5, max_message_bytes=1 << 20)) == 5 + 4
