"""Handlers of methods as interceptors see them: to put something around one, and to refuse in its place."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Any, NoReturn, TypeAlias

import grpc
from grpc.aio import ServicerContext

__all__ = ["Continuation", "Handler", "HandlerBook", "around", "refusal"]

# As texts: the types are generic for the checker alone. None: there is no such method.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]"

KINDS: dict[tuple[bool, bool], tuple[str, Callable[..., Any]]] = {  # by request_streaming, response_streaming
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


def around(
    handler: grpc.RpcMethodHandler[Any, Any], enter: Callable[[ServicerContext[Any, Any]], AbstractContextManager[None]]
) -> grpc.RpcMethodHandler[Any, Any]:
    """`handler` within `enter(context)`, from when it begins (a unary message is there by then) to its end.

    Its behaviour is a coroutine function or an asynchronous generator, and so is what comes back.
    """
    name, make = KINDS[handler.request_streaming, handler.response_streaming]
    behaviour = getattr(handler, name)

    async def generate(request: Any, context: ServicerContext[Any, Any]) -> Any:
        with enter(context):
            async with aclosing(behaviour(request, context)) as replies:
                async for reply in replies:
                    yield reply

    async def call(request: Any, context: ServicerContext[Any, Any]) -> Any:
        with enter(context):
            return await behaviour(request, context)

    made: grpc.RpcMethodHandler[Any, Any] = make(
        generate if inspect.isasyncgenfunction(behaviour) else call,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return made


class HandlerBook:
    """What was made of each method's handler, once: handlers are made when a server starts, and calls are many.

    Callers may make up methods: those that are not there are to share one name.
    """

    def __init__(self) -> None:
        self._made: dict[str, tuple[grpc.RpcMethodHandler[Any, Any], grpc.RpcMethodHandler[Any, Any]]] = {}

    def made(
        self,
        method: str,
        handler: grpc.RpcMethodHandler[Any, Any],
        make: Callable[[], grpc.RpcMethodHandler[Any, Any]],
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """What `make` gave for this very `handler`; for another one, such as a refusal, what it gives now."""
        known = self._made.get(method)
        if known is not None and known[0] is handler:
            return known[1]
        made = make()
        if known is None:
            self._made[method] = handler, made
        return made


def refusal(
    code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, str], ...] = ()
) -> grpc.RpcMethodHandler[Any, Any]:
    """Ends a call before a message of it is read.

    It is a stream's, whatever the method is: of a unary one gRPC would first wait for its message.
    """

    async def refuse(messages: Any, context: ServicerContext[Any, Any]) -> NoReturn:
        await context.abort(code, details, trailing)

    return grpc.stream_stream_rpc_method_handler(refuse)
