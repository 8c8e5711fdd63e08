"""Tokens over real sockets: every kind of call, and everything that must be refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from lqhq.server.access.token_file import TokenFile
from lqhq.server.access.token_interceptor import NO_TOKEN, OPEN_METHODS, WRONG_TOKEN, TokenInterceptor, bearer

TOKEN = "0123456789abcdef"
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
GOOD = (("authorization", f"Bearer {TOKEN}"),)
REFUSED: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "none": ((), NO_TOKEN),
    "other header": ((("x-token", TOKEN),), NO_TOKEN),
    "basic": ((("authorization", f"Basic {TOKEN}"),), NO_TOKEN),
    "bare": ((("authorization", TOKEN),), NO_TOKEN),
    "empty": ((("authorization", "Bearer "),), NO_TOKEN),
    "twice": ((*GOOD, *GOOD), NO_TOKEN),
    "good and bad": ((*GOOD, ("authorization", "Bearer " + "x" * 16)), NO_TOKEN),
    "wrong": ((("authorization", "Bearer " + "x" * 16),), WRONG_TOKEN),
    "shortened": ((("authorization", f"Bearer {TOKEN[:-1]}"),), WRONG_TOKEN),
    "with its name": ((("authorization", f"Bearer anna:{TOKEN}"),), WRONG_TOKEN),
    "two blanks": ((("authorization", f"Bearer  {TOKEN}"),), WRONG_TOKEN),
}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"anna:{TOKEN}\nbo:{'b' * 16}\n")
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def interceptor(path: Path, clock: Clock) -> TokenInterceptor:
    return TokenInterceptor(TokenFile(path, log=lambda event, **fields: None, clock=clock))


def run(served: Any, interceptor: TokenInterceptor, talk: Callable[[grpc.aio.Channel], Any]) -> None:
    async def all_of_it() -> None:
        async with served([interceptor]) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await talk(channel)

    asyncio.run(all_of_it())


def test_the_right_token_opens_every_kind_of_call(served: Any, call: Any, interceptor: TokenInterceptor) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        for kind in KINDS:
            assert await call(channel, kind, GOOD) == b"anna"
        assert await call(channel, "unary_unary", (("authorization", "bearer " + "b" * 16),)) == b"bo"

    run(served, interceptor, talk)


def test_everything_else_is_refused_in_every_kind_of_call(
    served: Any, call: Any, interceptor: TokenInterceptor
) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        for kind in KINDS:
            for metadata, told in REFUSED.values():
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(channel, kind, metadata)
                assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAUTHENTICATED, told)
        assert await call(channel, "unary_unary", GOOD) == b"anna"

    run(served, interceptor, talk)


def test_a_caller_does_not_become_the_next_one(served: Any, call: Any, interceptor: TokenInterceptor) -> None:
    other = (("authorization", "Bearer " + "b" * 16),)

    async def talk(channel: grpc.aio.Channel) -> None:
        answers = await asyncio.gather(*(call(channel, kind, pair) for kind in KINDS for pair in (GOOD, other)))
        assert answers == [b"anna", b"bo"] * len(KINDS)

    run(served, interceptor, talk)


def test_a_token_taken_out_of_the_file_ends_while_running(
    served: Any, call: Any, interceptor: TokenInterceptor, path: Path, clock: Clock
) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        assert await call(channel, "unary_unary", GOOD) == b"anna"
        path.write_text(f"bo:{'b' * 16}\n")
        clock.now = 2.0
        for kind in KINDS:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(channel, kind, GOOD)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert await call(channel, "unary_unary", (("authorization", "Bearer " + "b" * 16),)) == b"bo"

    run(served, interceptor, talk)


def test_no_message_is_read_of_who_has_no_token(served: Any, interceptor: TokenInterceptor) -> None:
    """A unary call that never sends its message is refused all the same."""

    async def talk(channel: grpc.aio.Channel) -> None:
        stream = channel.stream_stream("/t.T/unary_unary")(timeout=20)
        assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED

    run(served, interceptor, talk)


def test_health_is_open_and_unknown_methods_are_not(served: Any, call: Any, interceptor: TokenInterceptor) -> None:
    async def talk(channel: grpc.aio.Channel) -> None:
        # This server has no health service: that it says so means the interceptor let the call pass.
        expected = dict.fromkeys(sorted(OPEN_METHODS), grpc.StatusCode.UNIMPLEMENTED)
        expected["/t.T/none"] = grpc.StatusCode.UNAUTHENTICATED
        expected["/grpc.health.v1.Health/Check/"] = grpc.StatusCode.UNAUTHENTICATED
        for method, code in expected.items():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(method)(b"", timeout=20)
            assert caught.value.code() is code

    run(served, interceptor, talk)


def test_planted_binary_header_is_no_token() -> None:
    assert bearer((("authorization", b"Bearer " + TOKEN.encode()),)) is None
    assert bearer(None) is None
    assert bearer(GOOD) == TOKEN
