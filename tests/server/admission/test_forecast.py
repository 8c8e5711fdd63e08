"""What is forecast is what the runtime calls, for every kind of plan."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.geometry import Size
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.latent_spec import GroupNorm, Segment
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.segment_plan import plan_segments
from lqhq.runtime.segments import Segmented
from lqhq.runtime.tiles import plan_tiles
from lqhq.server.admission.forecast import forecast
from lqhq.server.batching.batch_key import BatchKey, Model

MODEL = Model("tiny", "1", "fp32", "onnx")


class Watched:
    """A session that notes the role and the sides of what it is fed."""

    largest, profiles = None, ()

    def __init__(self, role: str, session: Any, seen: Counter[BatchKey]) -> None:
        self._role, self._session, self._seen = role, session, seen

    def run(self, feed: Any) -> Any:
        sides = next((array.shape[2:] for array in feed.values() if array.ndim == 4), (0, 0))
        self._seen[BatchKey(MODEL, self._role, *sides)] += 1
        return self._session.run(feed)


def calls_of(folder: Any, image: np.ndarray, *, planes: int, **options: Any) -> tuple[Counter[BatchKey], Any]:
    """What `restore` calls, and what is forecast for it."""
    seen = Counter[BatchKey]()
    with Restorer.open(folder, threads=1) as opened:
        watched = {role: Watched(role, session, seen) for role, session in opened._sessions.items()}
        restorer = Restorer(opened.bundle, watched)
        schedule = restorer.schedule(None)
        told = forecast(
            MODEL,
            restorer.plan(image, **options),
            rows=len(schedule.rows) if schedule else 0,
            own_prior=options.get("prior") == "tile",
            planes=planes,
        )
        restorer.restore(image, **options)
    return seen, told


def image(channels: int) -> np.ndarray:
    return np.random.default_rng(5).integers(1, 255, (40, 56, channels), np.uint8)


@pytest.mark.parametrize(("channels", "planes"), [(3, 1), (4, 2)])
@pytest.mark.parametrize("blend", ["final", "each"])
def test_rows_over_tiles(tiny_bundle, channels, planes, blend):
    seen, told = calls_of(tiny_bundle(), image(channels), planes=planes, tile=16, overlap=4, blend=blend)
    assert seen == told
    assert sum(told.values()) > 6


@pytest.mark.parametrize("prior", ["image", "tile"])
def test_guided_restorations(guided_bundle, prior):
    seen, told = calls_of(guided_bundle(), image(4), planes=2, tile=16, overlap=4, prior=prior)
    assert seen == told
    assert {key.role for key in told} == {"reduce", "encode", "decode"}


NORM = GroupNorm(groups=2, eps=1e-6)
SEGMENTS = (
    Segment(file="s/0", x="input", y="a", channels=4, halo=1),
    Segment(file="s/1", x="a", y="qkv", channels=12, halo=1, norm=NORM),
    Segment(file="s/2", x="qkv", y="b", channels=4, kind="attention"),
    Segment(file="s/3", x="b", y="output", channels=3, up=2, norm=NORM),
)


def test_latents_in_strips():
    size = Size(24, 12)
    steps = plan_segments(SEGMENTS, size, channels={"input": 4}, budget=10_000)
    stage = Segmented(
        "decode",
        steps,
        inputs={"input": lambda top, count: np.zeros((4, count, 12), np.float32)},
        output=lambda top, rows: None,
    )
    seen = Counter[BatchKey]()
    while (call := stage.ready()) is not None:
        seen[BatchKey(MODEL, call.role, *call.box.size)] += 1
        step = steps[int(call.role[-2:])]
        feed, up = stage.feed(call), step.segment.up
        length = feed["q"].shape[2:] if "q" in feed else (call.box.height * up, call.box.width * up)
        stage.done(call, {"y": np.zeros((1, step.segment.channels, *length), np.float32)})
    assert stage.finished
    choice = LatentChoice(
        plan=plan_tiles(size, Size(8, 8), overlap=2, multiple=1),
        factor=2,
        encode="whole",
        decode="segments",
        steps={"decode": steps},
        alone=False,
        peak_bytes=1,
        engine_bytes=1,
        tile_bytes=0,
        scratch_bytes=0,
        reason="",
    )
    told = dict(forecast(MODEL, choice, rows=3, words=("tag", "text")))
    assert told.pop(BatchKey(MODEL, "encode", 24, 12)) == 1
    assert told.pop(BatchKey(MODEL, "denoise", 8, 8)) == 3 * len(choice.plan)
    assert [told.pop(BatchKey(MODEL, role, 0, 0)) for role in ("tag", "text")] == [1, 1]
    assert told == seen
    assert len(seen) > len(SEGMENTS)  # strips of several heights
