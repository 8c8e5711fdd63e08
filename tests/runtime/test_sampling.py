"""The stages of a sampler: both blend modes against a whole-image oracle, any order, many jobs in shared batches."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lqhq.kernels.noise import normal
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.driver import drive
from lqhq.runtime.errors import CancelledError, EngineError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.job import Job
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.noise import NoiseField, row_shapes
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.sampling import sampling
from lqhq.runtime.schedule import Row, Schedule, Start
from lqhq.runtime.session import Feed, Fetch
from lqhq.runtime.sink import ImageSink
from lqhq.runtime.tiles import plan_tiles


class BlurSession:
    """`pred = blur3x3(state) * (0.5 + 0.5 t)` in NumPy, and what it was asked; stands in for an engine."""

    def __init__(self, variance: bool = False) -> None:
        self.variance = variance
        self.batches: list[int] = []

    def run(self, feed: Feed) -> Fetch:
        state, t = feed["state"], feed["t"]
        self.batches.append(len(state))
        pred = blur(state) * (0.5 + 0.5 * t)[:, None, None, None]
        return {"pred": pred, "var": 0.25 * state} if self.variance else {"pred": pred}

    def close(self) -> None: ...

    def __enter__(self) -> BlurSession:
        return self

    def __exit__(self, *_: object) -> None: ...


def blur(state: np.ndarray) -> np.ndarray:
    padded = np.pad(state, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = state.shape[2:]
    out = np.zeros_like(state)
    for y, row in enumerate((1, 2, 1)):
        for x, weight in enumerate((1, 2, 1)):
            out += np.float32(row * weight / 16) * padded[:, :, y : y + height, x : x + width]
    return out


def oracle(manifest: Manifest, canvas: np.ndarray, schedule: Schedule, seed: int, variance: bool) -> np.ndarray:
    """The schedule on the whole canvas `[3, H, W]` at once, in float64, straight from the formula of `Row`."""
    shape = {"channels": 3, "top": 0, "left": 0, "height": canvas.shape[1], "width": canvas.shape[2]}
    state = schedule.start.c_img * canvas.astype(np.float64)
    state = state + schedule.start.c_noise * normal(seed=seed, stream="start", row=0, **shape)
    history: list[np.ndarray] = []
    session = BlurSession(variance)
    for index, row in enumerate(schedule.rows):
        fetch = session.run({"state": state[None].astype(np.float32), "t": np.float32([row.t])})
        pred = fetch["pred"][0].astype(np.float64)
        v = row.p * state + row.q * pred
        if row.clip is not None:
            v = np.clip(v, -row.clip, row.clip)
        history = [v, *history]
        level = row.sigma
        if row.log_sigma is not None:
            level = level + np.exp(row.log_sigma[0] + row.log_sigma[1] * fetch["var"][0])
        drawn = normal(seed=seed, stream="step", row=index, **shape)
        past = sum(c * value for c, value in zip(row.c, history, strict=False))
        state = row.c_state * state + row.c_pred * pred + past + level * drawn
    return state


MULTISTEP = Schedule(
    start=Start(c_img=0.9, c_noise=0.1),
    rows=(
        Row(t=1.0, p=0.1, q=0.9, clip=0.5, c_state=0.5, c=(0.4,), sigma=0.02),
        Row(t=0.6, c_state=0.3, c_pred=0.1, c=(0.5, 0.2), sigma=0.01),
        Row(t=0.2, c_state=0.0, c=(0.8, 0.1, 0.1)),
    ),
)
LEARNED = Schedule(
    start=Start(), rows=(Row(t=1.0, c_state=0.5, c=(0.5,), log_sigma=(-4.0, 0.5)), Row(t=0.5, c_state=0, c=(1.0,)))
)


@pytest.fixture
def manifest(tiny_bundle: Callable[..., Path]) -> Manifest:
    return open_bundle(tiny_bundle()).manifest


def image(height: int = 37, width: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


def job(manifest: Manifest, pixels: np.ndarray, schedule: Schedule, blend: str, tile: int = 16, seed: int = 3) -> Job:
    source = PreparedImage(pixels, manifest)
    sink = ImageSink(source.size, channels=3, dtype=np.dtype(np.float32), manifest=manifest)
    stages = sampling(
        source,
        schedule=schedule,
        plan=plan_tiles(source.canvas, Size(tile, tile), overlap=8 if tile < 64 else 0, multiple=4),
        blend=blend,
        noise=NoiseField(seed=seed, shapes=row_shapes(3, source.size, len(schedule.rows)), injected=None),
        sink=sink,
    )
    return Job(stages, sink)


def expected(manifest: Manifest, pixels: np.ndarray, schedule: Schedule, variance: bool = False) -> np.ndarray:
    source = PreparedImage(pixels, manifest)
    canvas = source.read(Box(0, 0, *source.canvas))
    state = oracle(manifest, canvas, schedule, 3, variance)[:, : source.size.height, : source.size.width]
    return np.clip((state.transpose(1, 2, 0) + 1) / 2, 0, 1)


@pytest.mark.parametrize("schedule", [MULTISTEP, LEARNED], ids=["multistep", "learned variance"])
@pytest.mark.parametrize("blend", ["each", "final"])
def test_untiled_equals_the_oracle(manifest, schedule, blend):
    variance = schedule is LEARNED
    one = job(manifest, image(), schedule, blend, tile=64)
    drive([one], {"denoise": BlurSession(variance)})
    assert one.result() == pytest.approx(expected(manifest, image(), schedule, variance), abs=2e-6)


@pytest.mark.parametrize("schedule", [MULTISTEP, LEARNED], ids=["multistep", "learned variance"])
@pytest.mark.parametrize("blend", ["each", "final"])
def test_tiled_equals_the_oracle_where_the_overlap_hides_the_edges(manifest, schedule, blend):
    """The network reaches one pixel a step; three steps stay inside the two pixels of zero weight for `each` only."""
    variance = schedule is LEARNED
    one = job(manifest, image(), schedule, blend)
    drive([one], {"denoise": BlurSession(variance)})
    bound = 2e-6 if blend == "each" or schedule is LEARNED else 2e-2
    assert one.result() == pytest.approx(expected(manifest, image(), schedule, variance), abs=bound)


@pytest.mark.parametrize("blend", ["each", "final"])
def test_any_order_of_completion_gives_the_same_bytes(manifest, blend):
    results = set()
    for seed in range(4):
        one, session, out = job(manifest, image(), MULTISTEP, blend), BlurSession(), []
        draw = random.Random(seed)
        while not one.finished:
            out += one.ready(draw.randint(1, 5))
            work = out.pop(draw.randrange(len(out)))
            one.done(work, session.run(work.feed()))
        results.add(one.result().tobytes())
    assert len(results) == 1


def test_jobs_interleaved_in_shared_batches_equal_one_by_one(manifest):
    sizes = [(37, 50), (16, 16), (20, 90), (64, 33)]
    single = Schedule(start=Start(), rows=(Row(t=0.5, c_state=0.5, c=(0.5,)),))
    kinds = [(MULTISTEP, "final"), (MULTISTEP, "each"), (MULTISTEP, "final"), (single, "each")]

    def jobs() -> list[Job]:
        both = zip(sizes, kinds, strict=True)
        return [job(manifest, image(h, w, seed=h), schedule, blend) for (h, w), (schedule, blend) in both]

    session = BlurSession()
    together = jobs()
    drive(together, {"denoise": session}, batch=4)
    assert set(session.batches) == {4}  # the last batch is padded
    for one, shared in zip(jobs(), together, strict=True):
        drive([one], {"denoise": BlurSession()}, batch=4)
        assert one.result().tobytes() == shared.result().tobytes()
    assert sum(session.batches) < sum(4 * one.total for one in together) / 2  # and batches really were shared


def test_ready_work_is_bounded_and_given_once(manifest):
    one = job(manifest, image(), MULTISTEP, "final")
    first = one.ready(3)
    assert [work.call.tile for work in first] == [0, 1, 2]
    assert [work.call.tile for work in one.ready(2)] == [3, 4]
    assert one.total == 3 * len({work.call.tile for work in first + one.ready(10**6)} | {3, 4})
    assert one.ready(5) == []


def test_each_waits_for_the_whole_row(manifest):
    one, session = job(manifest, image(), MULTISTEP, "each"), BlurSession()
    works = one.ready(10**6)
    assert {work.call.row for work in works} == {0}
    for work in works[:-1]:
        one.done(work, session.run(work.feed()))
        assert one.ready(1) == []
    one.done(works[-1], session.run(works[-1].feed()))
    assert {work.call.row for work in one.ready(10**6)} == {1}


def test_a_graph_that_changes_the_size_is_an_error(manifest):
    one = job(manifest, image(), MULTISTEP, "final")
    (work,) = one.ready(1)
    with pytest.raises(EngineError, match="expected pred of shape"):
        one.done(work, {"pred": np.zeros((1, 3, 4, 4), np.float32)})


def test_a_nan_from_the_network_is_an_error(manifest):
    class Broken(BlurSession):
        def run(self, feed):
            return {"pred": feed["state"] * np.float32(np.nan)}

    with pytest.raises(EngineError, match="NaN"):
        drive([job(manifest, image(), MULTISTEP, "final")], {"denoise": Broken()})


def test_cancel_stops_between_batches_and_progress_counts(manifest):
    seen: list[tuple[int, int]] = []
    one = job(manifest, image(), MULTISTEP, "final")
    with pytest.raises(CancelledError, match="stop after 4 of"):
        drive([one], {"denoise": BlurSession()}, progress=lambda *at: seen.append(at), cancel=lambda: len(seen) == 4)
    assert seen == [(n, one.total) for n in (1, 2, 3, 4)]


def test_a_wrong_row_is_seen(manifest):
    first, middle, last = MULTISTEP.rows
    wrong = Schedule(start=MULTISTEP.start, rows=(first, msgspec.structs.replace(middle, c=(0.501, 0.2)), last))
    one = job(manifest, image(), wrong, "each", tile=64)
    drive([one], {"denoise": BlurSession()})
    assert np.abs(one.result() - expected(manifest, image(), MULTISTEP)).max() > 1e-5
