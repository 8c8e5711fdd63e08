"""A server has its port at once or not at all, and holds to its limits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio

from lqhq.runtime.errors import OptionError
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.grpc_server import bound_server

CONFIG = ServeConfig(bundles=("demo",), port=0, max_message_bytes=1 << 16)


def bind(config: ServeConfig) -> int:
    async def run() -> int:
        server, port = bound_server(config, None, [])
        await server.stop(None)
        return port

    return asyncio.run(run())


def test_any_free_port() -> None:
    assert bind(CONFIG) > 0


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OptionError, match="Address already in use"):
        bind(replace(CONFIG, port=taken.getsockname()[1]))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a" * 300])
def test_addresses_that_are_not_ours(host: str) -> None:
    with pytest.raises(OptionError, match="port: found"):
        bind(replace(CONFIG, host=host))


def served(config: ServeConfig, ask: Callable[[str], Awaitable[Any]]) -> Any:
    """What `ask` gives of a server whose one method takes 0.2 s."""

    async def slow(request: bytes, context: Any) -> bytes:
        await asyncio.sleep(0.2)
        return request

    async def run() -> Any:
        server, port = bound_server(config, None, [])
        methods = {"slow": grpc.unary_unary_rpc_method_handler(slow)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("T", methods),))
        await server.start()
        try:
            return await ask(f"127.0.0.1:{port}")
        finally:
            await server.stop(None)

    return asyncio.run(run())


async def codes(address: str, connections: int, calls: int, request: bytes = b"") -> list[StatusCode]:
    """How `calls` at once on each of `connections` end."""

    async def one(channel: aio.Channel) -> StatusCode:
        call = channel.unary_unary("/T/slow")(request, timeout=5)
        return await call.code()

    own = [("grpc.use_local_subchannel_pool", 1)]  # else channels share a connection
    channels = [aio.insecure_channel(address, own) for _ in range(connections)]
    found = await asyncio.gather(*(one(channel) for channel in channels for _ in range(calls)))
    await asyncio.gather(*(channel.close() for channel in channels))
    return sorted(found, key=lambda code: code.value)


def test_connections() -> None:
    found = served(replace(CONFIG, max_connections=2), lambda address: codes(address, 3, 1))
    assert found == [StatusCode.OK, StatusCode.OK, StatusCode.UNAVAILABLE]


def test_message_sizes() -> None:
    fits, over = (1 << 16), (1 << 16) + 1
    assert served(CONFIG, lambda address: codes(address, 1, 1, bytes(fits))) == [StatusCode.OK]
    assert served(CONFIG, lambda address: codes(address, 1, 1, bytes(over))) == [StatusCode.RESOURCE_EXHAUSTED]


def test_packed_messages_are_not_unpacked() -> None:
    """A megabyte may hold a gigabyte, and gRPC would look at its size afterwards."""

    async def packed(address: str) -> StatusCode:
        async with aio.insecure_channel(address) as channel:
            call = channel.unary_unary("/T/slow")(bytes(1 << 20), timeout=5, compression=grpc.Compression.Gzip)
            return await call.code()

    assert served(CONFIG, packed) is StatusCode.UNIMPLEMENTED
