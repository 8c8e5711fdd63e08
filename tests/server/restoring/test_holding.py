"""Room is given back once, when nobody uses it any more."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lqhq.server.admission.predicted import Predicted
from lqhq.server.admission.reservation import Held, Reservation
from lqhq.server.restoring.holding import Holding

RESERVED = Reservation(Predicted(1, 1.0, 0.0, 1), 1)


def test_what_is_done_holds_nothing():
    async def run() -> None:
        released: list[Reservation] = []
        holding = Holding(RESERVED, released.append, lambda: None)
        with ThreadPoolExecutor(1) as pool:
            assert await holding.run(pool, lambda: 7) == 7
            with pytest.raises(ZeroDivisionError):
                await holding.run(pool, lambda: 1 // 0)
        await asyncio.sleep(0)
        assert released == []
        holding.close()
        assert released == [RESERVED]

    asyncio.run(run())


def test_a_thread_that_runs_holds_on_after_its_caller_gave_up():
    async def run() -> None:
        released: list[Reservation] = []
        holding, go = Holding(RESERVED, released.append, lambda: None), threading.Event()
        with ThreadPoolExecutor(1) as pool:
            running = asyncio.create_task(holding.run(pool, go.wait))
            behind = asyncio.create_task(holding.run(pool, go.wait))
            await asyncio.sleep(0.05)
            running.cancel()
            behind.cancel()  # it has not begun, and does not
            await asyncio.gather(running, behind, return_exceptions=True)
            holding.close()
            await asyncio.sleep(0.05)
            assert released == []
            go.set()
            async with asyncio.timeout(5):
                while not released:
                    await asyncio.sleep(0.005)
        assert released == [RESERVED]

    asyncio.run(run())


def test_an_end_after_the_loop_is_of_no_consequence():
    future: Future[int] = Future()

    async def run() -> None:
        Holding(RESERVED, lambda _: None, lambda: None).hold(future).cancel()

    future.set_running_or_notify_cancel()
    asyncio.run(run())
    future.set_result(1)


def test_what_is_left_is_held_until_the_answer_is_sent():
    async def run() -> None:
        released: list[Reservation] = []
        reservation = Reservation(Predicted(10, 50.0, 1.0, 1000), 1, done_works=4)
        changes: list[int] = []
        holding = Holding(reservation, released.append, lambda: changes.append(reservation.predicted.bytes))
        sent = asyncio.Event()

        async def answering() -> None:
            task = asyncio.current_task()
            assert task is not None
            holding.close_with(task, 300)
            await sent.wait()

        task = asyncio.create_task(answering())
        await asyncio.sleep(0.01)
        assert changes == [300]
        assert (Held([reservation]).works, Held([reservation]).left_ms) == (0, 0)
        assert released == []
        sent.set()
        await task
        await asyncio.sleep(0)
        assert released == [reservation]

    asyncio.run(run())
