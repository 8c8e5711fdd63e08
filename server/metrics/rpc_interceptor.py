"""Counts calls by method and the status that they end with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc.aio import ServerInterceptor, ServicerContext

from lqhq.server.metrics.metrics import Metrics
from lqhq.server.rpc_handler import Continuation, Handler, around

__all__ = ["RpcMetricsInterceptor"]

OTHER = "other"  # methods that are not there: a caller may make up as many names as it likes


class RpcMetricsInterceptor(ServerInterceptor):
    """Put it first: what the others refuse counts, too."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """The method's handler, which counts itself."""
        handler = await continuation(handler_call_details)
        if handler is None:
            self._metrics.rpc_began()
            self._metrics.rpc_ended(OTHER, grpc.StatusCode.UNIMPLEMENTED.name)
            return None
        return around(handler, lambda context: self._call(handler_call_details.method, context))

    @contextmanager
    def _call(self, method: str, context: ServicerContext[Any, Any]) -> Iterator[None]:
        # gRPC's own `add_done_callback` comes too early: a cancelled call still has the status OK then.
        self._metrics.rpc_began()
        code = grpc.StatusCode.UNKNOWN  # what gRPC makes of an exception that is nobody's
        try:
            yield
            code = _told(context, grpc.StatusCode.OK)
        except (asyncio.CancelledError, GeneratorExit):
            left = context.time_remaining()
            late = left is not None and left <= 0
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            raise
        except grpc.aio.AbortError:
            code = _told(context, code)
            raise
        except grpc.aio.BaseError:  # the call was over: gRPC had refused its message, or its caller had gone
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            self._metrics.rpc_ended(method, code.name)


def _told(context: ServicerContext[Any, Any], otherwise: grpc.StatusCode) -> grpc.StatusCode:
    """The status that a handler has set; gRPC gives it back as it was set, or as a number."""
    code = context.code()
    if not code:  # 0 is OK, and what it is before
        return otherwise
    return next((status for status in grpc.StatusCode if code in (status, status.value[0])), otherwise)
