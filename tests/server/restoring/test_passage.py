"""Passages over the real dispatcher: a worker process, its death, many requests at once, and what is left of them."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import numpy as np
import pytest

from lqhq.runtime.restorer import Restorer
from lqhq.server.v2.errors import DeadlineError


def test_many_at_once_have_the_runtimes_bytes(serving, tiny_bundle, ask):
    folder = tiny_bundle(scale=2)
    rng = np.random.default_rng(11)
    images = [rng.integers(0, 256, (20 + 4 * at, 30, 3), np.uint8) for at in range(8)]
    with Restorer.open(folder, threads=1) as restorer:
        wanted = [restorer.restore(image, schedule="noisy", seed=at, tile=32) for at, image in enumerate(images)]

    async def run() -> None:
        async with serving(folder) as one:
            asks = [
                ask(image, id=f"r{at}", model="", schedule="noisy", seed=at, tile=32) for at, image in enumerate(images)
            ]
            results = await asyncio.gather(*map(one.restore, asks))
            for (image, outcome), expected in zip(results, wanted, strict=True):
                np.testing.assert_array_equal(image, expected)
                assert outcome.times.run_s > 0
                assert outcome.device == "cpu"

    asyncio.run(run())


@pytest.mark.slow  # a second worker process starts
def test_a_killed_worker_loses_no_request(serving, crew, tiny_bundle, ask):
    folder = tiny_bundle()
    image = np.random.default_rng(12).integers(0, 256, (96, 96, 3), np.uint8)
    with Restorer.open(folder, threads=1) as restorer:
        wanted = restorer.restore(image, schedule="three", tile=8, overlap=4)

    async def run() -> None:
        async with serving(folder) as one:
            task = asyncio.create_task(one.restore(ask(image, model="", schedule="three", tile=8, overlap=4)))
            while not one.ledger.held or next(iter(one.ledger.held)).done_works < 20:
                await asyncio.sleep(0.001)
            assert not task.done()
            os.kill(crew.dispatcher.pids[0], signal.SIGKILL)
            np.testing.assert_array_equal((await task).image, wanted)

    asyncio.run(run())


def test_deadlines_and_cancelled_tasks_leave_nothing(serving, crew, tiny_bundle, ask):
    image = np.zeros((200, 200, 3), np.uint8)

    async def run() -> None:
        async with serving(tiny_bundle()) as one:
            long = ask(image, model="", schedule="three", tile=8, overlap=4)
            tasks = [asyncio.create_task(one.restore(long)) for _ in range(5)]
            late = ask(image, model="", schedule="three", tile=8, overlap=4, deadline_s=0.2)
            with pytest.raises(DeadlineError):
                await one.restore(late)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError) for error in ended)
            begun = time.monotonic()
            small = ask(np.zeros((16, 16, 3), np.uint8), id="small", model="")
            await one.restore(small)
            assert time.monotonic() - begun < 4  # planted: works that nobody wants any more would take far longer
            assert crew.dispatcher.works == 0

    asyncio.run(run())


@pytest.mark.slow  # replays goldens, and sessions of a real network: some seconds
def test_a_bundle_with_goldens_is_checked_and_reloaded(serving, ask):
    image = np.random.default_rng(13).integers(0, 256, (64, 48, 3), np.uint8)

    async def run() -> None:
        async with serving("demo", allow_unverified=False) as one:
            with one.models.lease("") as served:
                name = served.name
                assert served.verified
                assert served.opened.checked.passed
            first = await one.restore(ask(image, model=""))
            running = asyncio.create_task(one.restore(ask(image, model="")))
            await one.models.load(name)
            second, third = await running, await one.restore(ask(image, model=""))
            np.testing.assert_array_equal(first.image, second.image)
            np.testing.assert_array_equal(first.image, third.image)

    asyncio.run(run())
