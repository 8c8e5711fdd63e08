"""However often it rings, the loop has one call of it at a time, and none is missed."""

from __future__ import annotations

import asyncio
import threading

from lqhq.server.restoring.bell import Bell


def test_rings_are_joined_and_none_is_lost():
    async def run() -> None:
        bell, heard = Bell(), list[int]()
        count = 0
        bell.add(lambda: heard.append(count))

        def ring() -> None:
            nonlocal count
            for _ in range(10_000):
                count += 1
                bell.ring()

        thread = threading.Thread(target=ring)
        thread.start()
        async with asyncio.timeout(5):
            while not heard or heard[-1] < 10_000:
                await asyncio.sleep(0.001)
        thread.join()
        assert len(heard) < 10_000

    asyncio.run(run())


def test_a_loop_that_has_ended_hears_nothing():
    async def run() -> Bell:
        return Bell()

    asyncio.run(run()).ring()


def test_what_changes_while_it_is_answered_rings_again():
    async def run() -> None:
        bell, heard = Bell(), list[int]()

        def listener() -> None:
            heard.append(len(heard))
            if len(heard) < 3:
                bell.ring()

        bell.add(listener)
        bell.ring()
        async with asyncio.timeout(1):
            while len(heard) < 3:
                await asyncio.sleep(0)

    asyncio.run(run())
