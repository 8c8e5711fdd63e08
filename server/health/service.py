"""`grpc.health.v1.Health` over a board.

The servicer of the official package is not used: there one watcher that does not read holds up every change, and one
that leaves takes the others' subscription with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from grpc.aio import ServicerContext
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lqhq.server.health.board import HealthBoard

__all__ = ["MAX_WATCHERS", "HealthService"]

MAX_WATCHERS = 64
MAX_NAME = 256  # characters; no model's name is longer
Status = health_pb2.HealthCheckResponse
STATUSES = {True: Status.SERVING, False: Status.NOT_SERVING, None: Status.SERVICE_UNKNOWN}


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the package has no types
    """`Check` and `Watch`. A watcher that does not read a status for `send_s` is let go, and holds up nobody.

    `look` brings the board up to date: whoever checks is told what is so now.
    """

    def __init__(
        self,
        board: HealthBoard,
        *,
        look: Callable[[], None] = lambda: None,
        send_s: float = 60.0,
        max_watchers: int = MAX_WATCHERS,
    ) -> None:
        self._board, self._look, self._send_s, self._max_watchers = board, look, send_s, max_watchers

    async def Check(self, request: Any, context: ServicerContext[Any, Any]) -> Any:  # noqa: N802
        """SERVING or NOT_SERVING; the status NOT_FOUND for an unknown name."""
        self._look()
        ready = self._board.ready(request.service)
        if ready is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "No service or model of that name is served.")
        return Status(status=STATUSES[ready])

    async def Watch(self, request: Any, context: ServicerContext[Any, Any]) -> None:  # noqa: N802
        """The status now and after each change, SERVICE_UNKNOWN for a name that may come yet."""
        if len(request.service) > MAX_NAME:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"A name has at most {MAX_NAME} characters.")
        if self._board.watchers >= self._max_watchers:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._max_watchers} watch already; use Check.")
        last: Any = None
        with self._board.watch() as changed:
            while True:
                status = STATUSES[self._board.ready(request.service)]
                if status != last:
                    await self._send(Status(status=status), context)
                    last = status
                await changed.wait()
                changed.clear()

    async def _send(self, message: Any, context: ServicerContext[Any, Any]) -> None:
        try:
            async with asyncio.timeout(self._send_s):
                await context.write(message)
        except TimeoutError:
            # A status would wait behind what is not read; so the call just ends.
            raise asyncio.CancelledError from None
