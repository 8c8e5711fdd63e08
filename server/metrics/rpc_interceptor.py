"""Counts calls by method and the status that they end with."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
from grpc.aio import ServerInterceptor, ServicerContext

from lqhq.server.metrics.metrics import Metrics
from lqhq.server.rpc_handler import Continuation, Handler, HandlerBook, around

__all__ = ["RpcMetricsInterceptor"]

NEARLY_S = 0.1  # callers' clocks began earlier: they give up when a little is left by the server's
OTHER = "other"  # methods that are not there: a caller may make up as many names as it likes


class RpcMetricsInterceptor(ServerInterceptor):
    """Put it first: what the others refuse counts, too. `methods` are those that are there."""

    def __init__(self, metrics: Metrics, methods: Collection[str]) -> None:
        self._metrics, self._methods = metrics, methods
        self._counting = HandlerBook()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """The method's handler, which counts itself."""
        handler = await continuation(handler_call_details)
        if handler is None:
            self._metrics.rpc_began()
            self._metrics.rpc_ended(OTHER, grpc.StatusCode.UNIMPLEMENTED.name)
            return None
        # What the tokens refuse has a handler, whether or not there is such a method.
        method = handler_call_details.method if handler_call_details.method in self._methods else OTHER
        return self._counting.made(method, handler, lambda: around(handler, partial(self._call, method)))

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
            late = left is not None and left <= NEARLY_S
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
