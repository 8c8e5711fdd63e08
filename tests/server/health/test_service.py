"""Health over real sockets: checks, watchers that read, that do not, that go, and that are too many."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lqhq.server.health.board import SERVICES, HealthBoard

Status = health_pb2.HealthCheckResponse
MODEL = "demo"


def asked(name: str) -> Any:
    return health_pb2.HealthCheckRequest(service=name)


async def at_least(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def run(served: Any, talk: Any, **limits: Any) -> None:
    async def all_of_it() -> None:
        board = HealthBoard()
        async with served(board, **limits) as channel:
            await talk(board, health_pb2_grpc.HealthStub(channel))

    asyncio.run(all_of_it())


def test_check(served: Any) -> None:
    async def talk(board: HealthBoard, stub: Any) -> None:
        for name in SERVICES:
            assert (await stub.Check(asked(name))).status == Status.NOT_SERVING
        board.server(True)
        board.model(MODEL, True)
        for name in (*SERVICES, MODEL):
            assert (await stub.Check(asked(name))).status == Status.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(asked("other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    run(served, talk)


def test_check_tells_what_is_so_now(served: Any) -> None:
    looks = list[bool]()

    def look() -> None:
        looks.append(True)
        board.server(True)

    board = HealthBoard()

    async def talk() -> None:
        async with served(board, look=look) as channel:
            assert (await health_pb2_grpc.HealthStub(channel).Check(asked(""))).status == Status.SERVING

    asyncio.run(talk())
    assert looks == [True]


def test_watch_hears_the_state_now_and_each_change(served: Any) -> None:
    async def talk(board: HealthBoard, stub: Any) -> None:
        watch = stub.Watch(asked(MODEL))
        assert (await watch.read()).status == Status.SERVICE_UNKNOWN
        board.model("another", True)  # no change for this one
        board.model(MODEL, False)
        assert (await watch.read()).status == Status.NOT_SERVING
        board.model(MODEL, True)
        assert (await watch.read()).status == Status.SERVING
        board.drain()
        assert (await watch.read()).status == Status.NOT_SERVING
        watch.cancel()
        await at_least(lambda: board.watchers == 0)

    run(served, talk)


def test_one_that_leaves_takes_nobody_along(served: Any) -> None:
    async def talk(board: HealthBoard, stub: Any) -> None:
        first, second = stub.Watch(asked("")), stub.Watch(asked(""))
        await first.read()
        await second.read()
        first.cancel()
        await at_least(lambda: board.watchers == 1)
        board.server(True)
        assert (await second.read()).status == Status.SERVING

    run(served, talk)


def test_one_that_does_not_read_holds_up_nobody_and_piles_up_nothing(served: Any) -> None:
    async def talk(board: HealthBoard, stub: Any) -> None:
        _silent = stub.Watch(asked(""))
        reading = stub.Watch(asked(""))
        await reading.read()
        await at_least(lambda: board.watchers == 2)
        for number in range(20_000):  # far more than a connection's buffers hold
            board.server(number % 2 == 0)
        board.server(True)
        last = None
        async with asyncio.timeout(10):
            while last != Status.SERVING:
                last = (await reading.read()).status
        assert (await stub.Check(asked(""))).status == Status.SERVING

    run(served, talk)


def test_no_more_watchers_than_allowed(served: Any) -> None:
    async def talk(board: HealthBoard, stub: Any) -> None:
        watching = [stub.Watch(asked("")) for _ in range(3)]
        for watch in watching:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Watch(asked("")).read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.Check(asked(""))).status == Status.NOT_SERVING
        watching[0].cancel()
        await at_least(lambda: board.watchers == 2)
        assert (await stub.Watch(asked("")).read()).status == Status.NOT_SERVING

    run(served, talk, max_watchers=3)


def test_long_names_are_refused(served: Any) -> None:
    async def talk(board: HealthBoard, stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Watch(asked("x" * 100_000)).read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(served, talk)


class Stuck:
    """A call whose messages are never read."""

    async def write(self, message: Any) -> None:
        await asyncio.sleep(60)


def test_a_status_that_is_not_read_in_time_ends_the_watch() -> None:
    from lqhq.server.health.service import HealthService

    async def watched() -> None:
        board = HealthBoard()
        with pytest.raises(asyncio.CancelledError):
            await HealthService(board, send_s=0.05).Watch(asked(""), Stuck())  # type: ignore[arg-type]
        assert board.watchers == 0

    asyncio.run(watched())
