"""Latent bundles over the real dispatcher: whole, tiled and in segments, alone and together, to the byte."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lqhq.runtime import latent_plan
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.schedule import Row, Schedule, Start
from lqhq.server.restoring.ask import Restored

STEPS = {
    "one-step": Schedule(start=Start(), rows=(Row(t=999.0, c_state=0.0, c=(1.0,)),)),
    "noisy": Schedule(
        start=Start(c_noise=0.3),
        rows=tuple(Row(t=999.0 / k, c_state=0.5, c=(0.5,), sigma=0.1 * (k > 1)) for k in (3, 2, 1)),
    ),
}
STRIP = 12_000  # bytes: several strips of the small canvases here
MANY_LATENTS = 900  # images of more are restored in segments, where a test mixes forms


def picture(seed: int, height: int = 36, width: int = 50, channels: int = 3) -> np.ndarray:
    return np.random.default_rng([41, seed]).integers(0, 256, (height, width, channels), np.uint8)


@pytest.fixture
def folder(latent_bundle: Callable[..., Path]) -> Path:
    return latent_bundle(schedules=STEPS)


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have `encode` and `decode` of images with more than `above` latents run in `form`, in small strips."""

    def force(form: str, *, above: int = 0) -> None:
        may_be_whole = latent_plan._may_be_whole
        monkeypatch.setattr(
            latent_plan,
            "_may_be_whole",
            lambda request, role: request.size.pixels <= above and may_be_whole(request, role),
        )
        monkeypatch.setattr(latent_plan, "FORMS", ("whole", form))
        monkeypatch.setattr(latent_plan, "LEAST_STRIP", STRIP)
        monkeypatch.setattr(latent_plan, "MOST_STRIP", STRIP)

    return force


@pytest.fixture
def wanted(folder: Path) -> Callable[..., np.ndarray]:
    """What `Restorer.restore` gives."""

    def restored(image: np.ndarray, **options: Any) -> np.ndarray:
        with Restorer.open(folder, threads=1) as restorer:
            return restorer.restore(image, **options)

    return restored


def over(serving: Callable[..., Any], folder: Path, *asks: Any, **config: Any) -> list[Restored]:
    """The results of `asks`, all at once."""

    async def run() -> list[Restored]:
        async with serving(folder, **config) as one:
            return await asyncio.gather(*map(one.restore, asks))

    return asyncio.run(run())


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("tile", [None, 16])
def test_whole_and_tiled(serving, folder, wanted, ask, channels, tile):
    image, options = picture(channels, channels=channels), {"schedule": "noisy", "seed": 3, "tile": tile}
    ((found, _),) = over(serving, folder, ask(image, model="", **options))
    expected = wanted(image, **options)
    assert found.tobytes() == expected.tobytes()
    assert found.tobytes() != wanted(image, **options | {"seed": 4}).tobytes()  # planted


@pytest.mark.parametrize("form", ["segments", "scratch"])
def test_in_segments(serving, folder, wanted, ask, forms, form):
    forms(form)
    image, options = picture(5), {"schedule": "noisy", "seed": 6, "tile": 32}
    with Restorer.open(folder, threads=1) as restorer:
        choice = restorer.plan(image, schedule="noisy", tile=32)
        assert (choice.encode, choice.decode, choice.alone) == (form, form, True)
        assert max(step.count for steps in choice.steps.values() for step in steps) > 2
    ((found, _),) = over(serving, folder, ask(image, model="", **options))
    assert found.tobytes() == wanted(image, **options).tobytes()


def test_little_memory_takes_segments(serving, folder, wanted, ask):
    image, memory = picture(7, 120, 160), 100 << 20
    with Restorer.open(folder, threads=1) as restorer:
        choice = restorer.plan(image, memory=memory)
        assert (choice.decode, choice.alone) == ("segments", True)
        assert restorer.plan(image, memory=1 << 30).decode == "whole"
    (found, outcome), (_, roomy) = (
        over(serving, folder, ask(image, model=""), memory=given)[0] for given in (memory, 1 << 30)
    )
    assert outcome.works > roomy.works  # segments are works of their own
    assert found.tobytes() == wanted(image, memory=memory).tobytes()


def test_a_segment_without_its_halo_is_seen(serving, latent_bundle, folder, wanted, ask, forms):
    """The planted fault."""
    manifest = open_bundle(folder).manifest
    first, *others = manifest.segments["decode"]
    faulty = {**manifest.segments, "decode": (msgspec.structs.replace(first, halo=0), *others)}
    forms("segments")
    image = picture(8)
    ((found, _),) = over(serving, latent_bundle("faulty", segments=faulty), ask(image, model=""))
    assert (found != wanted(image)).any()


def test_many_at_once_alone_and_shared(serving, folder, wanted, ask, forms):
    forms("segments", above=MANY_LATENTS)
    options = [{"schedule": ("one-step", "noisy")[at % 2], "seed": at, "tile": (None, 32)[at % 2]} for at in range(8)]
    images = [picture(at, 24 + 6 * (at % 5), 30) for at in range(8)]
    with Restorer.open(folder, threads=1) as restorer:
        alone = [restorer.plan(image).alone for image in images]
        assert 2 <= sum(alone) <= 6
    asks = [ask(image, id=f"r{at}", model="", **options[at]) for at, image in enumerate(images)]
    found = over(serving, folder, *asks)
    for at, image in enumerate(images):
        assert found[at].image.tobytes() == wanted(image, **options[at]).tobytes(), at


@pytest.mark.slow  # a tokenizer is written first
def test_with_words(serving, latent_bundle, ask):
    worded = latent_bundle("worded", worded=True, tagged=True)
    image, options = picture(9), {"prompt": "a cat", "tagger": True, "tile": 32}
    with Restorer.open(worded, threads=1) as restorer:
        expected = restorer.restore(image, **options)
        other = restorer.restore(image, **options | {"prompt": "a dog"})
    (found, _), (again, _) = over(serving, worded, *(ask(image, id=f"r{at}", model="", **options) for at in range(2)))
    assert found.tobytes() == again.tobytes() == expected.tobytes() != other.tobytes()


@pytest.mark.parametrize("alone", [False, True])
def test_a_cancelled_request_frees_its_turn(serving, crew, folder, wanted, ask, forms, alone):
    forms("segments", above=MANY_LATENTS)
    long = ask(picture(10, 150, 150), id="long", model="", schedule="noisy", seed=1)  # in segments: alone
    image = picture(11, *((36, 50) if alone else (24, 30)))
    expected = wanted(image)

    async def run() -> None:
        async with serving(folder) as one:
            running = asyncio.create_task(one.restore(long))
            while not one.ledger.held or next(iter(one.ledger.held)).done_works < 3:
                await asyncio.sleep(0.001)
            waiting = asyncio.create_task(one.restore(long))  # for its turn, and given up there
            next_one = asyncio.create_task(one.restore(ask(image, id="next", model="")))
            while len(one.ledger.held) < 3:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            assert not next_one.done()  # it has to wait, so its turn is the cancelled ones'
            for task in (waiting, running):
                task.cancel()
            ended = await asyncio.gather(running, waiting, return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError) for error in ended)
            async with asyncio.timeout(10):
                found, _ = await next_one
            assert found.tobytes() == expected.tobytes()
        assert crew.dispatcher.works == 0

    asyncio.run(run())


@pytest.mark.slow  # a second worker process starts
@pytest.mark.parametrize("form", ["whole", "segments"])
def test_a_killed_worker_loses_no_request(serving, crew, folder, wanted, ask, forms, form):
    if form == "segments":
        forms(form)
    image, options = picture(12, 90, 90), {"schedule": "noisy", "seed": 2, "tile": 16, "overlap": 8}
    expected = wanted(image, **options)

    async def run() -> None:
        async with serving(folder) as one:
            task = asyncio.create_task(one.restore(ask(image, model="", **options)))
            while not one.ledger.held or next(iter(one.ledger.held)).done_works < 20:
                await asyncio.sleep(0.001)
            assert not task.done()
            os.kill(crew.dispatcher.pids[0], signal.SIGKILL)
            assert (await task).image.tobytes() == expected.tobytes()

    asyncio.run(run())
