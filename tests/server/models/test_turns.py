"""Many share, one is alone; first come, first served; who gives up leaves no gap."""

from __future__ import annotations

import asyncio

from lqhq.server.models.turns import Turns


class Seen:
    """Who is inside, in the order in which they came in."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.inside: list[str] = []
        self.order: list[str] = []

    async def go(self, name: str, leave: asyncio.Event, *, alone: bool) -> None:
        async with self.turns.take(alone=alone):
            self.inside.append(name)
            self.order.append(name)
            assert not alone or self.inside == [name]
            await leave.wait()
            self.inside.remove(name)


async def step() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_those_that_share_go_together_and_one_alone_waits_for_all():
    async def run() -> None:
        seen, first, second, third = Seen(), asyncio.Event(), asyncio.Event(), asyncio.Event()
        tasks = [
            asyncio.create_task(seen.go("a", first, alone=False)),
            asyncio.create_task(seen.go("b", second, alone=False)),
            asyncio.create_task(seen.go("alone", third, alone=True)),
            asyncio.create_task(seen.go("c", first, alone=False)),  # behind the one alone: it must not starve
        ]
        await step()
        assert seen.inside == ["a", "b"]
        first.set()
        await step()
        assert seen.inside == ["b"]
        second.set()
        await step()
        assert seen.inside == ["alone"]
        third.set()
        await asyncio.gather(*tasks)
        assert seen.order == ["a", "b", "alone", "c"]

    asyncio.run(run())


def test_who_gives_up_lets_the_next_in():
    async def run() -> None:
        seen, leave = Seen(), asyncio.Event()
        inside = asyncio.create_task(seen.go("a", leave, alone=False))
        gone = asyncio.create_task(seen.go("gone", leave, alone=True))
        behind = asyncio.create_task(seen.go("b", leave, alone=False))
        await step()
        assert seen.inside == ["a"]
        gone.cancel()
        await step()
        assert seen.inside == ["a", "b"]
        leave.set()
        await asyncio.gather(inside, behind)

    asyncio.run(run())


def test_a_turn_that_was_given_to_one_who_gives_up_goes_on():
    async def run() -> None:
        seen, leave, never = Seen(), asyncio.Event(), asyncio.Event()
        inside = asyncio.create_task(seen.go("a", leave, alone=True))
        gone = asyncio.create_task(seen.go("gone", never, alone=True))
        await step()
        leave.set()
        await asyncio.sleep(0)  # `a` leaves and hands its turn over; the other has not run yet
        gone.cancel()
        await asyncio.gather(inside, gone, return_exceptions=True)
        async with asyncio.timeout(1), seen.turns.take(alone=True):
            pass

    asyncio.run(run())
