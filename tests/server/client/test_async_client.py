"""`AsyncClient` on a real socket: what differs from `Client` is the loop; the logic is tested there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from lqhq.runtime.errors import CancelledError, OptionError
from lqhq.runtime.geometry import Box
from lqhq.server.client import AsyncClient, Retry, TransferError, UnreachableError
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v2.errors import DeadlineError, RequestError, UnavailableError

T = TypeVar("T")
SMALL, LARGE = b"a small file", bytes(range(256)) * 5000
QUICK = Retry(tries=3, first_s=0.01, longest_s=0.02)
BUSY = (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue: found 9; expected 8. Later.", ("retry-after-ms", "30"))
AWAY = (grpc.StatusCode.UNAVAILABLE, "server: found draining; expected ready. Later.")


@pytest.fixture
def using(address: str) -> Callable[[Callable[[AsyncClient], Awaitable[T]]], T]:
    """Runs a coroutine function of a client on a loop of its own."""

    def run(body: Callable[[AsyncClient], Awaitable[T]]) -> T:
        async def whole() -> T:
            async with AsyncClient(address, retry=QUICK, token="a-token") as client:
                return await body(client)

        return asyncio.run(whole())

    return run


def test_both_ways_at_once(using: Any, fake: Any, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(SMALL)

    async def body(client: AsyncClient) -> list[bytes]:
        pictures = (SMALL, LARGE, tmp_path / "in.png", LARGE * 2)
        return [result.image for result in await asyncio.gather(*map(client.restore, pictures))]

    assert using(body) == [SMALL[::-1], LARGE[::-1], SMALL[::-1], (LARGE * 2)[::-1]]
    assert (len(fake.requests), len(fake.uploads)) == (2, 2)
    assert {seen["authorization"] for seen in fake.metadata} == {"Bearer a-token"}


def test_listeners_may_be_coroutines(using: Any) -> None:
    heard: list[Any] = []

    async def progress(done: int, total: int, left_s: float) -> None:
        await asyncio.sleep(0)
        heard.append((done, total, left_s))

    using(lambda client: client.restore(SMALL, progress=progress, tiles=lambda *tile: heard.append(tile)))
    assert heard == [(0, 2, 2.0), (1, 2, 1.0), (2, 2, 0.0), (Box(1, 2, 3, 4), b"PNG")]


@pytest.mark.parametrize("picture", [SMALL, LARGE], ids=["unary", "stream"])
def test_tries(using: Any, fake: Any, picture: bytes) -> None:
    fake.refuse(*BUSY, times=2)
    assert using(lambda client: client.restore(picture)).image == picture[::-1]
    fake.refuse(*AWAY, times=3)
    with pytest.raises(UnavailableError, match="tried 3 times"):
        using(lambda client: client.restore(picture))
    fake.acts.clear()
    fake.refuse(grpc.StatusCode.INVALID_ARGUMENT, "tile: found 3; expected 8. Give 8.")
    with pytest.raises(RequestError, match="expected 8"):
        using(lambda client: client.restore(picture))
    assert fake.calls == 7


@pytest.mark.parametrize("picture", [SMALL, LARGE], ids=["unary", "stream"])
def test_a_cancelled_task_cancels_the_call(using: Any, fake: Any, picture: bytes) -> None:
    fake.hold()

    async def body(client: AsyncClient) -> None:
        task = asyncio.create_task(client.restore(picture))
        assert await asyncio.to_thread(fake.reached.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(fake.left.wait, 10)

    using(body)


@pytest.mark.parametrize("picture", [SMALL, LARGE], ids=["unary", "stream"])
def test_a_status_cancelled_is_no_cancelled_task(using: Any, fake: Any, picture: bytes) -> None:
    fake.refuse(grpc.StatusCode.CANCELLED, "by the server")
    with pytest.raises(CancelledError, match="by the server"):
        using(lambda client: client.restore(picture))


def test_what_a_listener_raises_ends_the_call(using: Any, fake: Any) -> None:
    async def stop(done: int, total: int, left_s: float) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        using(lambda client: client.restore(LARGE, progress=stop))


def test_deadline_and_damage(using: Any, fake: Any) -> None:
    fake.hold()
    with pytest.raises(DeadlineError):
        using(lambda client: client.restore(SMALL, timeout_s=0.2))
    fake.events = lambda events: events[:-1]
    with pytest.raises(TransferError, match="ends after 'chunk'"):
        using(lambda client: client.restore(LARGE))


def test_a_broken_connection_is_made_again(address: str, fake: Any, cut: Callable[..., str]) -> None:
    async def body() -> bytes:
        async with AsyncClient(cut(address, after=300_000), retry=QUICK) as client:
            return (await client.restore(LARGE)).image

    assert asyncio.run(body()) == LARGE[::-1]
    assert fake.calls == 2


def test_models_describe_status(using: Any, address: str) -> None:
    async def body(client: AsyncClient) -> tuple[Any, ...]:
        return await client.models(ready=True), await client.describe("fake"), await client.status()

    models, model, status = using(body)
    assert [one.name for one in models] == ["fake"]
    assert isinstance(model, pb.Model)
    assert (status.address, status.version, len(status.models)) == (address, "1.2.3", 2)


def test_nobody_there_and_a_wrong_word() -> None:
    async def body() -> None:
        async with AsyncClient("127.0.0.1:1", retry=Retry(tries=1)) as client:
            with pytest.raises(OptionError, match="expected 'png'"):
                await client.restore(SMALL, output="gif")
            await client.restore(SMALL)

    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1:"):
        asyncio.run(body())


def test_planted_a_client_that_swallows_cancellation_is_seen(using: Any, fake: Any) -> None:
    """A task that gRPC alone thinks cancelled and one that was cancelled differ in `Task.cancelling`."""

    async def body(client: AsyncClient) -> int:
        task = asyncio.current_task()
        assert task is not None
        fake.refuse(grpc.StatusCode.CANCELLED, "by the server")
        with pytest.raises(CancelledError):
            await client.restore(SMALL)
        return task.cancelling()

    assert using(body) == 0
