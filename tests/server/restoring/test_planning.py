"""What a request is told to be before a pixel is decoded is what it will be."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lqhq.runtime.errors import LimitError
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.image_write import encode_image
from lqhq.server.admission.predicted import request_bytes
from lqhq.server.batching.batch_key import BatchKey
from lqhq.server.restoring.pixels import prepare
from lqhq.server.restoring.planning import Bounds, Plan, plan_ask
from lqhq.server.v2.options import Delivery

BOUNDS = Bounds(max_pixels=1 << 20, max_result_pixels=1 << 24, memory=1 << 30, batches=2, batch=4)


def ran(restoration, sessions, model):
    """The calls that a restoration makes, by key."""
    calls = Counter()
    while not restoration.finished:
        for work in restoration.ready(1):
            calls[BatchKey.of(model, work)] += 1
            restoration.done(work, sessions[work.call.role].run(work.feed()))
    return calls


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("guided", [False, True])
def test_calls_are_those_that_are_made(desk, tiny_bundle, guided_bundle, ask, guided, channels):
    folder = guided_bundle("tiny") if guided else tiny_bundle(scale=2)
    image = np.random.default_rng(3).integers(0, 256, (40, 56, channels), np.uint8)

    async def run() -> None:
        async with desk(folder) as one:
            options = {"prior": "tile"} if guided else {"schedule": "three"}
            asking = ask(image, tile=16, **options)
            with one.models.lease("tiny") as served:
                plan = plan_ask(asking, served, BOUNDS)
                restoration = prepare(asking, served, plan, 1 << 20, None, lambda: 0.0).restoration
                assert sum(plan.calls.values()) == restoration.total
                assert ran(restoration, one.hands.sessions[served.key], served.key) == plan.calls
                result = restoration.result()
                assert plan.result[:3] == result.shape

    asyncio.run(run())


def test_a_file_is_planned_from_its_header(desk, tiny_bundle, ask, picture):
    data = encode_image("PNG", ImageFile(pixels=picture))

    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            with one.models.lease("tiny") as served:
                whole, header = (plan_ask(ask(part), served, BOUNDS) for part in (data, data[:200]))
                assert header.result == whole.result
                assert header.bytes == whole.bytes - len(data) + 200

    asyncio.run(run())


def beside(plan: Plan, fed: int) -> int:
    """What a plan's bytes are beyond those of the choice of tiles."""
    return plan.bytes - request_bytes(
        plan.choice,
        engine_bytes=plan.choice.engine_bytes,
        coded_bytes=0,
        tile_bytes=plan.choice.tile_bytes,
        held=fed,
    )


@pytest.mark.parametrize(
    ("depth", "given", "images"),
    [
        (None, np.uint8, 2),  # as it came and as it leaves
        (16, np.uint8, 1 + 2 + 1),  # and it is restored in another array than it came in
        (8, np.uint16, 2 + 1 + 2),  # and its result is made anew
    ],
)
def test_bytes_count_what_is_beside_the_tiles(desk, tiny_bundle, ask, picture, depth, given, images):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            with one.models.lease("tiny") as served:
                delivery = Delivery(format="tensor", bit_depth=depth)
                plan = plan_ask(ask(picture.astype(given), tile=16, delivery=delivery), served, BOUNDS)
                assert beside(plan, BOUNDS.batches * BOUNDS.batch) == images * picture.nbytes

    asyncio.run(run())


def test_a_mask_counts_as_well(desk, guided_bundle, ask, picture):
    async def run() -> None:
        async with desk(guided_bundle("tiny", masked=True)) as one:
            with one.models.lease("tiny") as served:
                mask = np.ones(picture.shape[:2], np.float32)
                plan = plan_ask(ask(picture, mask=mask, tile=16), served, BOUNDS)
                assert beside(plan, BOUNDS.batches * BOUNDS.batch) == 2 * picture.nbytes + mask.nbytes + mask.size

    asyncio.run(run())


def test_smaller_tiles_are_taken_where_that_makes_it_fit(desk, tiny_bundle, ask):
    """A plan for all of the memory would not fit with the tiles of so many batches beside it."""
    image = np.zeros((256, 256, 3), np.uint8)

    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            with one.models.lease("tiny") as served:
                tight = replace(BOUNDS, memory=5 << 20, batch=32)
                first = served.planner.plan(ImageForm.of(image), memory=tight.memory)
                fed = min(64, len(first.plan))
                needed = first.peak_bytes - first.engine_bytes + 2 * image.nbytes + first.tile_bytes * (fed - 1)
                assert needed > tight.memory
                plan = plan_ask(ask(image), served, tight)
                assert plan.bytes <= tight.memory
                assert max(plan.choice.plan.tile) < max(first.plan.tile)
                with pytest.raises(LimitError, match="memory"):
                    plan_ask(ask(image, tile=256), served, replace(BOUNDS, memory=1 << 20))

    asyncio.run(run())
