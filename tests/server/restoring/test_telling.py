"""What a follower hears: in order, at its own pace, and to the end."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from lqhq.server.v2.errors import DeadlineError
from lqhq.server.v2.options import Delivery


def test_accepted_comes_first_and_the_last_progress_is_all(desk, tiny_bundle, picture, listener):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            hears = listener()
            await one.restore(picture, hears, progress=True, schedule="three", tile=16)
            assert hears.order[0] == "accepted"
            (accepted,) = hears.accepted_
            assert (accepted.id, accepted.image, accepted.result) == ("r1", (40, 56, 3, 8), (40, 56, 3, 8))
            assert accepted.run_s == 0  # nothing was measured yet
            done, total, left_s = hears.progresses[-1]
            assert len({told[0] for told in hears.progresses}) == len(hears.progresses)  # none is told twice
            assert (done, left_s) == (total, 0.0)
            assert total == accepted.works
            again = listener()
            await one.restore(picture, again, progress=True, tile=16)
            assert again.accepted_[0].run_s > 0

    asyncio.run(run())


def test_progress_comes_as_the_work_does(desk, tiny_bundle, picture, listener):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            one.hands.by_hand = True
            hears = listener()
            task = asyncio.create_task(one.restore(picture, hears, progress=True, schedule="three"))
            await one.until(lambda: bool(one.hands.open))
            one.hands.run(one.hands.only, 1)
            await one.until(lambda: bool(hears.progresses))
            assert hears.progresses[0][:2] == (1, 3)
            assert hears.progresses[0][2] > 0
            one.hands.run(one.hands.only)
            await task
            assert hears.progresses[-1][:2] == (3, 3)

    asyncio.run(run())


@pytest.mark.parametrize("tiles", [False, True])
def test_no_progress_is_told_twice(desk, guided_bundle, picture, listener, tiles):
    async def run() -> None:
        async with desk(guided_bundle("tiny")) as one:
            one.hands.by_hand = True
            hears = listener()
            task = asyncio.create_task(one.restore(picture[:20, :28], hears, progress=True, tiles=tiles, tile=16))
            await one.until(lambda: bool(one.hands.open))
            while one.hands.open and one.hands.run(one.hands.only, 1):
                await asyncio.sleep(0.12)  # so that the last work is told when it is done, and not at the end alone
            await task
            dones = [done for done, _, _ in hears.progresses]
            assert len(dones) > 2
            assert dones == sorted(set(dones))
            assert dones[-1] == hears.accepted_[0].works

    asyncio.run(run())


def test_a_slow_follower_misses_progress_and_is_not_queued_for(desk, tiny_bundle, picture, listener):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            hears = listener(slow_s=0.05)
            await one.restore(picture, hears, progress=True, tile=8, overlap=4)
            assert hears.accepted_[0].works > 100
            assert len(hears.progresses) <= 3

    asyncio.run(run())


@pytest.mark.parametrize("depth", [None, 16])
def test_tiles_cover_the_result_once_in_its_type(desk, guided_bundle, picture, listener, depth):
    async def run() -> None:
        async with desk(guided_bundle("tiny")) as one:
            hears = listener()
            delivery = Delivery(format="tensor", bit_depth=depth)
            image, _ = await one.restore(picture, hears, tiles=True, tile=16, delivery=delivery)
            built = np.zeros_like(image)
            for box, pixels in hears.tiles:
                assert not built[box.rows, box.columns].any()
                assert pixels.dtype == image.dtype
                built[box.rows, box.columns] = pixels
            np.testing.assert_array_equal(built, image)
            assert len(hears.tiles) > 4
            assert not hears.progresses

    asyncio.run(run())


def test_tiles_wait_for_a_slow_follower_but_not_for_ever(desk, guided_bundle, picture, listener):
    async def run() -> None:
        async with desk(guided_bundle("tiny"), send_s=0.15) as one:
            patient, slow = listener(slow_s=0.001), listener(slow_s=0.1)
            await one.restore(picture, patient, tiles=True, tile=16)
            await one.restore(picture, slow, tiles=True, tile=16)
            assert 1 <= len(slow.tiles) < len(patient.tiles)
            await one.empty()

    asyncio.run(run())


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_a_follower_raises_ends_its_request(desk, guided_bundle, picture, listener, by_hand):
    async def run() -> None:
        async with desk(guided_bundle("tiny")) as one:
            one.hands.by_hand = by_hand
            gone = DeadlineError("answer", found="nobody", expected="a reader", mend="Read.")
            task = asyncio.create_task(one.restore(picture, listener(fault=gone), tiles=True, tile=16))
            if by_hand:
                await one.until(lambda: bool(one.hands.open))
                while one.hands.open and one.hands.run(one.hands.only, 1):
                    await asyncio.sleep(0.01)
            with pytest.raises(DeadlineError, match="nobody"):
                await task
            assert one.hands.cancelled == (["r1"] if by_hand else [])
            await one.empty()

    asyncio.run(run())


def test_who_wants_nothing_hears_of_its_acceptance_alone(desk, tiny_bundle, picture, listener):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            hears = listener()
            await one.restore(picture, hears)
            assert hears.order == ["accepted"]

    asyncio.run(run())
