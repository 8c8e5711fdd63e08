"""One request on its way: the bytes of the runtime, every end that it can have, and nothing left behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.errors import EngineError, ImageError, LimitError, OptionError
from lqhq.runtime.image_file import ImageFile, read_image_bytes
from lqhq.runtime.image_write import encode_image
from lqhq.runtime.restorer import Restorer
from lqhq.server.restoring.bit_depth import in_depth
from lqhq.server.v2.errors import DeadlineError, OverloadError, UnavailableError, UnknownModelError
from lqhq.server.v2.options import Delivery, Urgency


def failures(one: Any) -> dict[str, int]:
    return {reason: count for reason, count in one.metrics.model("tiny", 1).snapshot().failures.items() if count}


def refused(one: Any, reason: str) -> int:
    line = next(line for line in one.metrics.page().decode().splitlines() if f'reason="{reason}"' in line)
    return int(float(line.split()[-1]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_tensor_comes_back_as_the_runtime_makes_it(desk, tiny_bundle, picture, dtype):
    folder = tiny_bundle(scale=2)
    pixels = in_depth(picture, np.dtype(dtype))
    with Restorer.open(folder, threads=1) as restorer:
        wanted = restorer.restore(pixels, schedule="noisy", seed=5, tile=32)

    async def run() -> None:
        async with desk(folder) as one:
            image, outcome = await one.restore(pixels, schedule="noisy", seed=5, tile=32)
            np.testing.assert_array_equal(image, wanted)
            assert image.dtype == dtype
            assert outcome.result == (80, 112, 3, 8 * np.dtype(dtype).itemsize)
            assert (outcome.schedule, outcome.seed, outcome.model, outcome.version) == ("noisy", 5, "tiny", 1)
            assert (outcome.blend, outcome.rules, outcome.prior, outcome.color_fix) == ("final", "default", "", "none")
            assert (outcome.works, outcome.tile, outcome.overlap) == (45, (32, 32), 8)
            assert min(outcome.times) >= 0
            await one.empty()

    asyncio.run(run())


def test_a_file_comes_back_with_what_it_held(desk, tiny_bundle, picture):
    folder = tiny_bundle()
    given = ImageFile(pixels=picture, dpi=(300.0, 300.0), xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    with Restorer.open(folder, threads=1) as restorer:
        wanted = encode_image("PNG", replace(given, pixels=restorer.restore(picture)))

    async def run() -> None:
        async with desk(folder) as one:
            image, outcome = await one.restore(encode_image("PNG", given))
            assert image == wanted
            found = read_image_bytes(image, name="image")
            assert found.dpi == pytest.approx(given.dpi, abs=0.01)
            assert found.xmp == given.xmp
            assert outcome.format == "png"

    asyncio.run(run())


@pytest.mark.parametrize("form", ["tensor", "file"])
def test_masks_come_both_ways(desk, guided_bundle, picture, form):
    folder = guided_bundle("tiny", masked=True)
    hole = np.zeros(picture.shape[:2], np.uint8)
    hole[4:20, 8:30] = 255
    with Restorer.open(folder, threads=1) as restorer:
        wanted = restorer.restore(picture, mask=hole)
    mask = hole if form == "tensor" else encode_image("PNG", ImageFile(pixels=hole[:, :, None]))

    async def run() -> None:
        async with desk(folder) as one:
            image, outcome = await one.restore(picture, mask=mask)
            np.testing.assert_array_equal(image, wanted)
            assert outcome.prior == "image"
            with pytest.raises(OptionError, match="mask"):
                await one.restore(picture)
            with pytest.raises(ImageError, match="mask"):
                await one.restore(picture, mask=hole[:-1])
            await one.empty()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("parts", "kind", "match"),
    [
        ({"schedule": "nothing"}, OptionError, "schedule"),
        ({"prompt": "a cat"}, OptionError, "prompt"),
        ({"tile": 3}, OptionError, "tile"),
        ({"seed": -1}, OptionError, "seed"),
        ({"mask": np.ones((40, 56), np.uint8)}, OptionError, "mask"),
        ({"urgency": Urgency(priority=9)}, OptionError, "priority"),
        ({"delivery": Delivery(format="jpeg", bit_depth=16)}, ImageError, "16 bit"),
    ],
)
def test_what_cannot_be_is_refused_and_holds_nothing(desk, tiny_bundle, picture, parts, kind, match):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            with pytest.raises(kind, match=match):
                await one.restore(picture, **parts)
            assert failures(one) == {"OTHER": 1}
            await one.empty()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (b"no image", ImageError),
        (np.zeros((4, 4), np.uint8), ImageError),
        (np.zeros((4, 0, 3), np.uint8), ImageError),
        (np.zeros((4, 4, 3), np.int64), ImageError),
        (np.full((4, 4, 3), np.nan, np.float32), ImageError),
        (np.zeros((65, 64, 3), np.uint8), LimitError),
    ],
)
def test_wrong_images_are_refused(desk, tiny_bundle, image, kind):
    async def run() -> None:
        async with desk(tiny_bundle(), max_pixels=64 * 64) as one:
            with pytest.raises(kind, match="image"):
                await one.restore(image)
            await one.empty()

    asyncio.run(run())


def test_a_file_that_breaks_off_is_told_after_it_was_let_in(desk, tiny_bundle, picture):
    async def run() -> None:
        data = encode_image("PNG", ImageFile(pixels=picture))
        async with desk(tiny_bundle()) as one:
            with pytest.raises(ImageError, match="breaks off"):
                await one.restore(data[: len(data) // 2])
            await one.empty()

    asyncio.run(run())


def test_a_result_beyond_the_limit_is_refused(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle(scale=4), max_result_pixels=16 * picture[..., 0].size - 1) as one:
            with pytest.raises(LimitError, match="result"):
                await one.restore(picture)

    asyncio.run(run())


def test_what_never_fits_the_memory_is_told_at_once(desk, tiny_bundle):
    async def run() -> None:
        async with desk(tiny_bundle(), memory=2 << 20) as one:
            with pytest.raises(LimitError, match="memory"):
                await one.restore(np.zeros((600, 600, 3), np.uint8))
            await one.empty()

    asyncio.run(run())


def test_no_room_now_says_when_to_come_back(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle(), max_requests=1) as one:
            one.hands.by_hand = True
            first = asyncio.create_task(one.restore(picture))
            await one.until(lambda: bool(one.hands.open))
            with pytest.raises(OverloadError) as refusal:
                await one.restore(picture, id="r2")
            assert refusal.value.retry_after_ms is not None
            assert refusal.value.retry_after_ms >= 100
            assert refused(one, "busy") == 1
            one.hands.run(one.hands.only)
            await first
            await one.empty()
            one.hands.by_hand = False
            await one.restore(picture, id="r3")
            assert failures(one) == {"REJECTED": 1}

    asyncio.run(run())


def test_cancelling_the_task_cancels_the_request(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            one.hands.by_hand = True
            task = asyncio.create_task(one.restore(picture, schedule="three"))
            await one.until(lambda: bool(one.hands.open))
            one.hands.run(one.hands.only, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert one.hands.cancelled == ["r1"]
            assert failures(one) == {"CANCELED": 1}
            await one.empty()

    asyncio.run(run())


def test_room_is_held_while_a_thread_still_decodes(desk, tiny_bundle, picture, monkeypatch):
    import threading

    from lqhq.server.restoring import passage

    go, there = threading.Event(), threading.Event()
    whole = passage.prepare

    def slow(*arguments: Any) -> Any:
        there.set()
        go.wait(5)
        return whole(*arguments)

    monkeypatch.setattr(passage, "prepare", slow)

    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            task = asyncio.create_task(one.restore(picture, delivery=Delivery(format="png")))
            await one.until(there.is_set)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert len(one.ledger.held) == 1  # planted: a release at once would let the next one into the same memory
            assert await one.restoring.idle(1)
            go.set()
            await one.empty()

    asyncio.run(run())


@pytest.mark.parametrize("deadline_s", [-1.0, 0.0, 0.15])
def test_a_deadline_that_passes_ends_the_request_wherever_it_stands(desk, tiny_bundle, picture, deadline_s):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            one.hands.by_hand = True
            with pytest.raises(DeadlineError, match="r1"):
                await one.restore(picture, deadline_s=deadline_s)
            assert failures(one) == {"CANCELED": 1}
            await one.empty()

    asyncio.run(run())


def test_the_dispatcher_knows_the_deadline_and_may_be_first(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle(), clock=lambda: 100.0) as one:
            one.hands.by_hand = True
            task = asyncio.create_task(one.restore(picture, deadline_s=30.0))
            await one.until(lambda: bool(one.hands.open))
            assert one.hands.only.deadline_ms == 130_000.0
            one.hands.end(one.hands.only, "expired")
            with pytest.raises(DeadlineError):
                await task

    asyncio.run(run())


def test_who_may_not_wait_for_a_worker_ends_unless_it_began(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            one.hands.by_hand = True
            with pytest.raises(UnavailableError, match=r"0\.1 s"):
                await one.restore(picture, urgency=Urgency(timeout_s=0.1))
            assert one.hands.cancelled == ["r1"]
            task = asyncio.create_task(one.restore(picture, id="r2", schedule="three", urgency=Urgency(timeout_s=0.2)))
            await one.until(lambda: bool(one.hands.open))
            one.hands.run(one.hands.only, 1)
            await asyncio.sleep(0.25)
            one.hands.run(one.hands.only)
            await task
            await one.empty()
            assert failures(one) == {"REJECTED": 1}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (EngineError("decode", found="a fault", expected="none", mend="None."), EngineError, "BACKEND"),
        (MemoryError("here"), OverloadError, "BACKEND"),
        (ValueError("a bug"), ValueError, "BACKEND"),
    ],
)
def test_what_an_engine_fails_with_ends_the_request(desk, tiny_bundle, picture, error, kind, reason):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            one.hands.failure = error
            with pytest.raises(kind):
                await one.restore(picture)
            assert failures(one) == {reason: 1}
            event, fields = one.lines[-1]
            assert (event, fields["id"], fields["model"]) == ("request ended", "r1", "tiny")
            assert ("Traceback" in fields["error"]) == (kind is ValueError)
            await one.empty()

    asyncio.run(run())


def test_a_server_that_ends_it_is_unavailable(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            one.hands.by_hand = True
            task = asyncio.create_task(one.restore(picture))
            await one.until(lambda: bool(one.hands.open))
            one.hands.end(one.hands.only, "cancelled")
            with pytest.raises(UnavailableError):
                await task

    asyncio.run(run())


def test_draining_refuses_new_ones_and_waits_for_the_others(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            one.hands.by_hand = True
            task = asyncio.create_task(one.restore(picture))
            await one.until(lambda: bool(one.hands.open))
            one.restoring.drain()
            with pytest.raises(UnavailableError, match="shutting down"):
                await one.restore(picture, id="r2")
            assert not await one.restoring.idle(0.01)
            one.hands.run(one.hands.only)
            assert await one.restoring.idle(5)
            await task
            assert refused(one, "draining") == 1

    asyncio.run(run())


def test_models_that_are_not_there(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            for model, version in (("nobody", 0), ("tiny", 2)):
                with pytest.raises(UnknownModelError):
                    await one.restore(picture, model=model, version=version)
            assert (await one.outcome(picture, model="")).model == "tiny"
            await one.models.unload("tiny")
            with pytest.raises(UnavailableError):
                await one.restore(picture)
            assert refused(one, "not_ready") == 3

    asyncio.run(run())


def test_a_request_ends_on_the_version_it_began_on(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            one.hands.by_hand = True
            task = asyncio.create_task(one.restore(picture))
            await one.until(lambda: bool(one.hands.open))
            await one.models.load("tiny")
            assert len(one.hands.sessions) == 2
            one.hands.run(one.hands.only)
            await task
            await one.until(lambda: len(one.hands.sessions) == 1)

    asyncio.run(run())


def test_what_is_counted_and_logged(desk, tiny_bundle, picture):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            await one.restore(picture)
            counters = one.metrics.model("tiny", 1).reading()
            assert (counters.success.count, counters.images, counters.compute_infer.count) == (1, 1, 1)
            event, fields = one.lines[-1]
            assert event == "request done"
            assert fields["id"] == "r1"
            assert fields["works"] == 1
            await one.empty()
            page = one.metrics.page().decode()
            assert "lqhq_accepted_requests 0" in page
            assert f"lqhq_budget_bytes {1 << 30}" in page

    asyncio.run(run())


def test_those_that_need_the_engines_alone_go_one_by_one(desk, tiny_bundle, picture, monkeypatch):
    from lqhq.server.restoring import plans

    real = plans.plan_ask
    monkeypatch.setattr(plans, "plan_ask", lambda *given: replace(real(*given), alone=True))

    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            one.hands.by_hand = True
            tasks = [asyncio.create_task(one.restore(picture, id=id)) for id in ("a", "b")]
            await one.until(lambda: len(one.ledger.held) == 2)
            await one.until(lambda: bool(one.hands.open))
            await asyncio.sleep(0.05)
            one.hands.run(one.hands.only)
            await one.until(lambda: bool(one.hands.open))
            one.hands.run(one.hands.only)
            await asyncio.gather(*tasks)

    asyncio.run(run())


def test_the_result_counts_until_its_task_has_sent_it(desk, tiny_bundle, picture, ask):
    async def run() -> None:
        async with desk(tiny_bundle()) as one:
            sent = asyncio.Event()

            async def call() -> None:
                await one.restoring.restore(ask(picture))
                await sent.wait()

            task = asyncio.create_task(call())
            await one.until(lambda: one.ledger.held.bytes == 2 * picture.nbytes)
            assert await one.restoring.idle(1)
            assert f"lqhq_reserved_bytes {2 * picture.nbytes}" in one.metrics.page().decode()
            sent.set()
            await task
            await one.empty()

    asyncio.run(run())
