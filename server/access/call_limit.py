"""How many calls run at once.

gRPC's own `maximum_concurrent_rpcs` looks before a call comes, not when it is there: after a full moment it refuses the
next one, though all others may have ended. It tells nobody when to come back, and counts probes of health.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc.aio import ServerInterceptor

from lqhq.server.call_edge import RETRY_AFTER
from lqhq.server.rpc_handler import Continuation, Handler, refusal

__all__ = ["CallLimitInterceptor"]

RETRY_MS = 1000
CHECK = "/grpc.health.v1.Health/Check"  # a full server is alive; who asked and was refused would end it


class CallLimitInterceptor(ServerInterceptor):
    """`max_calls` at once; the others are told RESOURCE_EXHAUSTED, and when to come back.

    A call counts from its headers to its end. Put it behind the tokens: who has none shall take nobody's place.
    """

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._open = 0

    @property
    def open(self) -> int:
        """How many calls count now."""
        return self._open

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """The method's handler, or one that refuses."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method == CHECK:
            return handler
        if self._open >= self._max_calls:
            details = f"{self._max_calls} calls run already; try again in about {RETRY_MS} ms."
            return refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, details, ((RETRY_AFTER, str(RETRY_MS)),))
        task = asyncio.current_task()
        assert task is not None  # gRPC gives each call one of its own
        self._open += 1
        task.add_done_callback(self._ended)
        return handler

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._open -= 1
