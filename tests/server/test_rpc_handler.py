"""Handlers put within something: it begins and ends with the call, however that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from lqhq.server.rpc_handler import HandlerBook, around


class Noted(list[str]):
    """What happened, in order."""

    @contextmanager
    def enter(self, context: Any) -> Iterator[None]:
        self.append(f"in {context}")
        try:
            yield
        finally:
            self.append("out")


@pytest.fixture
def noted() -> Noted:
    return Noted()


def test_a_coroutine_that_fails(noted: Noted) -> None:
    async def behave(message: str, context: Any) -> str:
        noted.append(message)
        raise ValueError("as asked for")

    handler: Any = around(grpc.unary_unary_rpc_method_handler(behave), noted.enter)
    with pytest.raises(ValueError, match="as asked for"):
        asyncio.run(handler.unary_unary("message", "call"))
    assert noted == ["in call", "message", "out"]


def test_a_generator_that_is_left_early_ends_first(noted: Noted) -> None:
    async def behave(message: str, context: Any) -> AsyncIterator[str]:
        try:
            yield message
            yield "never asked for"
        finally:
            noted.append("closed")

    handler: Any = around(grpc.unary_stream_rpc_method_handler(behave), noted.enter)

    async def leave() -> None:
        replies = handler.unary_stream("message", "call")
        assert await anext(replies) == "message"
        await replies.aclose()

    asyncio.run(leave())
    assert noted == ["in call", "closed", "out"]


def test_kind_and_coders_stay() -> None:
    async def behave(messages: Any, context: Any) -> None: ...

    before = grpc.stream_stream_rpc_method_handler(behave, request_deserializer=bytes, response_serializer=len)
    after = around(before, Noted().enter)
    for name in ("request_streaming", "response_streaming", "request_deserializer", "response_serializer"):
        assert getattr(after, name) == getattr(before, name)


def test_what_was_made_of_a_handler_is_made_once() -> None:
    async def behave(message: Any, context: Any) -> None: ...

    book, made = HandlerBook(), list[Any]()
    one, other = (grpc.unary_unary_rpc_method_handler(behave) for _ in range(2))

    def make() -> Any:
        made.append(grpc.unary_unary_rpc_method_handler(behave))
        return made[-1]

    assert book.made("/a/b", one, make) is book.made("/a/b", one, make) is made[0]
    assert book.made("/a/c", other, make) is made[1]
    assert book.made("/a/b", other, make) is made[2]  # a refusal in its place
    assert book.made("/a/b", one, make) is made[0]
