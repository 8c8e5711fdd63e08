"""A server with the standard services on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from lqhq.server.health.board import HealthBoard
from lqhq.server.health.reflection import reflection_service
from lqhq.server.health.service import HealthService


@pytest.fixture
def served() -> Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]]:
    """`served(board, **limits)`: a context whose value is a channel to it."""

    @asynccontextmanager
    async def serve(board: HealthBoard, **limits: Any) -> AsyncIterator[grpc.aio.Channel]:
        server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(HealthService(board, **limits), server)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection_service(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield channel
        finally:
            await server.stop(None)

    return serve
