"""A restoration as a source of works: planes in turn, any order, feeds asked for again, boxes on the way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime import latent_plan
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Box
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.planner import Planner
from lqhq.runtime.restoration import Restoration
from lqhq.runtime.restorer import Restorer

Build = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("latent_prompt")  # importing its library takes its time, in the setup


def picture(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(7).integers(1, 255, (height, width, channels), np.uint8)


def opened(folder: Path) -> Restorer:
    return Restorer.open(open_bundle(folder, verified=None), threads=1)


def planner_of(restorer: Restorer) -> Planner:
    bundle, sessions = restorer.bundle, restorer._sessions
    return Planner(bundle, lambda: EngineShapes.of(sessions, bundle.manifest))


def run(source: Restoration, sessions: Any, draw: random.Random, *, lost: float = 0.0) -> list[str]:
    """Drive `source` in a random order; a part of the works is `lost` and fed again. The roles, in order."""
    out: list[Any] = []
    roles: list[str] = []
    while not source.finished:
        out += source.ready(draw.randint(1, 4))
        work = out.pop(draw.randrange(len(out)))
        feed = work.feed()
        if draw.random() < lost:
            out.append(work)
            continue
        roles.append(work.call.role)
        assert source.done_works < source.total
        source.done(work, sessions[work.call.role].run(feed))
    assert source.ready(9) == []
    assert source.done_works == source.total == len(roles)
    return roles


@pytest.fixture
def tiny(tiny_bundle: Build) -> Iterator[Restorer]:
    with opened(tiny_bundle(scale=2)) as restorer:
        yield restorer


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("blend", ["final", "each"])
def test_any_order_and_lost_works_give_the_restorers_bytes(tiny: Restorer, channels: int, blend: str) -> None:
    image, options = picture(20, 28, channels), {"tile": 24, "overlap": 8, "blend": blend, "schedule": "noisy"}
    wanted = tiny.restore(image, seed=3, **options)
    for seed in range(3):
        source = planner_of(tiny).restoration(image, seed=3, **options)
        assert source.result_form == ImageForm.of(wanted)
        run(source, tiny._sessions, random.Random(seed), lost=0.3)
        assert source.result().tobytes() == wanted.tobytes()
    other = planner_of(tiny).restoration(image, seed=4, **options)  # the planted fault: other noise
    run(other, tiny._sessions, random.Random(0))
    assert other.result().tobytes() != wanted.tobytes()


def test_planes_come_one_after_the_other(guided_bundle: Build) -> None:
    with opened(guided_bundle()) as restorer:
        source = planner_of(restorer).restoration(picture(32, 32, 4), tile=16, overlap=0)
        total = source.total
        roles = run(source, restorer._sessions, random.Random(1))
    assert total == len(roles)
    half = len(roles) // 2
    for plane in (roles[:half], roles[half:]):
        assert plane.count("encode") == 1  # planes side by side would mix them
        assert plane.index("encode") > plane.index("reduce")
        assert plane.index("decode") > plane.index("encode")


def test_a_constant_alpha_is_no_plane(tiny: Restorer) -> None:
    image = picture(20, 28, 4)
    image[..., 3] = 9
    source = planner_of(tiny).restoration(image)
    assert source.total == planner_of(tiny).restoration(image[..., :3]).total
    run(source, tiny._sessions, random.Random(0))
    assert set(source.result()[..., 3].flat) == {9}


@pytest.mark.parametrize("form", ["whole", "segments", "scratch"])
def test_latents_with_words_in_every_form(latent_bundle: Build, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(latent_plan, "_may_be_whole", lambda request, role: form == "whole")
    monkeypatch.setattr(latent_plan, "FORMS", (form,))
    image = picture(37, 50, 4)
    with opened(latent_bundle(worded=True, tagged=True, scale=1)) as restorer:
        wanted = restorer.restore(image, prompt="a cat", tagger=True, tile=32)
        source = planner_of(restorer).restoration(image, prompt="a cat", tagger=True, tile=32)
        roles = run(source, restorer._sessions, random.Random(2), lost=0.3)
        assert source.result().tobytes() == wanted.tobytes()
    assert [roles.count(role) for role in ("tag", "text")] == [1, 1]
    assert (roles[0], roles[1]) == ("tag", "text")


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_finished_boxes_are_told_and_cover_the_result_once(guided_bundle: Build, masked: bool, kind: str) -> None:
    image = picture(37, 50, 3) if kind == "uint8" else picture(37, 50, 3).astype(np.float32) / 255
    mask = {"mask": np.arange(50)[None] > np.arange(37)[:, None]} if masked else {}
    told: list[tuple[Box, np.ndarray]] = []
    with opened(guided_bundle(masked=masked)) as restorer:
        wanted = restorer.restore(image, tile=16, **mask)
        source = planner_of(restorer).restoration(
            image, tile=16, **mask, tiles=lambda box, part: told.append((box, part.copy()))
        )
        run(source, restorer._sessions, random.Random(3))
    assert source.result().tobytes() == wanted.tobytes()
    assert len(told) > 4
    count, again = np.zeros(wanted.shape[:2], int), np.zeros_like(wanted)
    for box, pixels in told:
        count[box.rows, box.columns] += 1
        again[box.rows, box.columns] = pixels
    assert count.min() == count.max() == 1
    assert again.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    ("channels", "options", "heard"),
    [
        (3, {"blend": "final"}, True),
        (1, {"blend": "final"}, True),
        (4, {"blend": "final"}, False),
        (3, {"blend": "each"}, False),
        (3, {"blend": "final", "color_fix": "adain"}, False),
    ],
)
def test_boxes_are_told_only_where_they_are_final(
    tiny: Restorer, channels: int, options: dict[str, Any], heard: bool
) -> None:
    told: list[Box] = []
    source = planner_of(tiny).restoration(
        picture(20, 28, channels), tile=24, overlap=8, **options, tiles=lambda box, _: told.append(box)
    )
    run(source, tiny._sessions, random.Random(0))
    assert bool(told) == heard


def test_the_result_waits_for_the_end(tiny: Restorer) -> None:
    source = planner_of(tiny).restoration(picture(8, 8, 3), schedule="three")
    (work,) = source.ready(5)
    assert (source.total, source.done_works, source.finished) == (3, 0, False)
    with pytest.raises(ValueError, match="0 of 3 works are done"):
        source.result()
    with pytest.raises(EngineError, match="pred"):
        source.done(work, {})
