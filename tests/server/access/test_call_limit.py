"""How many calls run at once, over real sockets: who is refused, who is not, and that places come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from lqhq.server.access.call_limit import CallLimitInterceptor
from lqhq.server.health.board import HealthBoard
from lqhq.server.health.service import HealthService

Code = grpc.StatusCode


class Gate:
    """Methods that answer once it is open."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def unary(self, message: bytes, context: Any) -> bytes:
        await self.opened.wait()
        return message

    async def stream(self, messages: AsyncIterator[bytes], context: Any) -> None:
        await self.opened.wait()

    async def listing(self, message: bytes, context: Any) -> AsyncIterator[bytes]:
        await self.opened.wait()
        yield message

    def handlers(self) -> grpc.GenericRpcHandler:
        kinds = {
            "unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "stream": grpc.stream_stream_rpc_method_handler(self.stream),
            "listing": grpc.unary_stream_rpc_method_handler(self.listing),
        }
        return grpc.method_handlers_generic_handler("t.T", kinds)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def run(limit: CallLimitInterceptor, talk: Any) -> None:
    async def all_of_it() -> None:
        gate, server = Gate(), grpc.aio.server(interceptors=[limit])
        server.add_generic_rpc_handlers((gate.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(HealthService(HealthBoard()), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await talk(gate, channel)
                await until(lambda: limit.open == 0)
        finally:
            await server.stop(None)

    asyncio.run(all_of_it())


async def code_of(call: Any) -> Code:
    return await call.code()  # type: ignore[no-any-return]


def test_the_next_is_told_when_to_come_back_and_places_come_back() -> None:
    limit = CallLimitInterceptor(3)

    async def talk(gate: Gate, channel: grpc.aio.Channel) -> None:
        unary = channel.unary_unary("/t.T/unary")
        running = [unary(b"a"), channel.stream_stream("/t.T/stream")(), channel.unary_stream("/t.T/listing")(b"b")]
        await until(lambda: limit.open == 3)
        refused = [unary(b"c"), channel.stream_stream("/t.T/stream")(), channel.unary_stream("/t.T/listing")(b"d")]
        for call in refused:
            assert await code_of(call) is Code.RESOURCE_EXHAUSTED
            assert dict(await call.trailing_metadata()) == {"retry-after-ms": "1000"}
        gate.opened.set()
        assert await running[0] == b"a"
        assert [reply async for reply in running[2]] == [b"b"]
        assert await code_of(running[1]) is Code.OK
        await until(lambda: limit.open == 0)
        assert await unary(b"e") == b"e"  # gRPC's own limit would refuse this one

    run(limit, talk)


def test_health_is_told_by_a_full_server() -> None:
    limit = CallLimitInterceptor(1)

    async def talk(gate: Gate, channel: grpc.aio.Channel) -> None:
        running = channel.unary_unary("/t.T/unary")(b"")
        await until(lambda: limit.open == 1)
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert await check(b"") == b"\x08\x02"  # status: NOT_SERVING
        assert await code_of(channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")) is Code.RESOURCE_EXHAUSTED
        gate.opened.set()
        await running

    run(limit, talk)


def test_a_storm_of_callers_that_go_leaves_no_place_taken() -> None:
    limit = CallLimitInterceptor(8)

    async def talk(gate: Gate, channel: grpc.aio.Channel) -> None:
        calls: list[Any] = []
        for _ in range(100):
            calls += [channel.unary_unary("/t.T/unary")(b""), channel.stream_stream("/t.T/stream")()]
        await until(lambda: limit.open > 0)
        for call in calls:
            call.cancel()
        await until(lambda: limit.open == 0)
        gate.opened.set()
        assert await channel.unary_unary("/t.T/unary")(b"x") == b"x"

    run(limit, talk)


def test_unknown_methods_take_no_place() -> None:
    limit = CallLimitInterceptor(1)

    async def talk(gate: Gate, channel: grpc.aio.Channel) -> None:
        assert await code_of(channel.unary_unary("/t.T/none")(b"")) is Code.UNIMPLEMENTED
        assert limit.open == 0

    run(limit, talk)
