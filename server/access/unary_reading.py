"""Reads the message of unary calls, which gRPC waits for without end and refuses without saying why.

A caller that sends headers and no message would keep its place for ever; one that sends bytes which are no message
would be told UNKNOWN.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import ServerInterceptor, ServicerContext

from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.rpc_handler import Continuation, Handler, HandlerBook

__all__ = ["UnaryReadingInterceptor", "time_to_begin"]

Code = grpc.StatusCode
LEAST_BYTES_S = 256 * 1024  # slower lines take `RestoreStream`, whose parts each have their own time


def time_to_begin(config: ServeConfig) -> float:
    """Seconds for a unary call's message: as long as an upload may pause, and what the largest takes on a slow line."""
    return config.idle_s + config.max_message_bytes / LEAST_BYTES_S


class UnaryReadingInterceptor(ServerInterceptor):
    """Put it last. The message has `begin_s` to come whole; streams see to that by themselves."""

    def __init__(self, begin_s: float) -> None:
        self._begin_s = begin_s
        self._readers = HandlerBook()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """The method's handler; a unary one as that of a stream, of which it reads one message."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        return self._readers.made(handler_call_details.method, handler, lambda: self._reader(handler))

    def _reader(self, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self._reading(handler.unary_stream), **coders)
        return grpc.stream_unary_rpc_method_handler(self._reading(handler.unary_unary), **coders)

    def _reading(self, behaviour: Callable[..., Any] | None) -> Callable[..., Any]:
        assert behaviour is not None  # the handler says that it is of this kind

        async def call(messages: AsyncIterator[Any], context: ServicerContext[Any, Any]) -> Any:
            return await behaviour(await self._message(context), context)

        async def generate(messages: AsyncIterator[Any], context: ServicerContext[Any, Any]) -> Any:
            async with aclosing(behaviour(await self._message(context), context)) as replies:
                async for reply in replies:
                    yield reply

        return generate if inspect.isasyncgenfunction(behaviour) else call

    async def _message(self, context: ServicerContext[Any, Any]) -> Any:
        """By the context: an iterator that is not read to its end is work for the collector."""
        try:
            async with asyncio.timeout(self._begin_s):
                message = await context.read()
            if message is not grpc.aio.EOF:
                return message
            await context.abort(Code.INVALID_ARGUMENT, "The call ended without its message.")
        except TimeoutError:
            await context.abort(Code.DEADLINE_EXCEEDED, f"The call's message did not come within {self._begin_s:g} s.")
        except DecodeError:
            await context.abort(Code.INVALID_ARGUMENT, "The bytes that came are no message of this method.")
