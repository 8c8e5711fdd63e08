"""Puts the standard services on a server."""

from __future__ import annotations

from collections.abc import Callable

from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from lqhq.server.health.board import HealthBoard
from lqhq.server.health.reflection import reflection_service
from lqhq.server.health.service import HealthService

__all__ = ["add_standard_services"]


def add_standard_services(
    server: aio.Server, board: HealthBoard, *, look: Callable[[], None], send_s: float, reflection: bool
) -> None:
    """Health, as `board` says, which `look` brings up to date, and reflection where it is wanted."""
    health_pb2_grpc.add_HealthServicer_to_server(HealthService(board, look=look, send_s=send_s), server)
    if reflection:
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection_service(), server)
