"""A bundle that makes LQ images (the tiny network, noise of a tenth), three HQ images, and recipes of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.degrade import load_degradation
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.runtime.schedule import Row, Schedule, Start
from lqhq.runtime.synthesis.pair import Recipe
from lqhq.runtime.synthesis.settings import Settings
from lqhq.runtime.synthesis.sources import Source, find_sources, names_digest
from lqhq.runtime.synthesis_spec import Synthesis

SEED = 20261122
NOMINAL, MOST = 20, 5
NOISE = 0.1


def last_rows(count: int) -> Schedule:
    """A start and `count` steps, each with noise: a lost or a wrong seed shows in 8 bits."""
    rows = tuple(Row(t=k / NOMINAL, c_state=0.5, c=(0.5,), sigma=NOISE) for k in range(count, 0, -1))
    return Schedule(start=Start(c_noise=NOISE * count), rows=rows)


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path]) -> Path:
    names = tuple(f"last-{count}" for count in range(1, MOST + 1))
    schedules = {name: last_rows(count) for count, name in enumerate(names, 1)}
    return tiny_bundle(
        task="degradation",
        schedules=schedules,
        default_schedule=names[-1],
        synthesis=Synthesis(steps=NOMINAL, schedules=names, most=0.25),
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """`a.png`, `b.v2.png` and `sub/c.png`, of 50x41 pixels: no multiple of 4."""
    folder = tmp_path / "hq"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    for name in ("a.png", "b.v2.png", "sub/c.png"):
        small = rng.integers(0, 256, (11, 13, 3), dtype=np.uint8)
        write_image(folder / name, ImageFile(pixels=small.repeat(4, 0).repeat(4, 1)[:41, :50]))
    return folder


@pytest.fixture
def sources(photos: Path, tmp_path: Path) -> tuple[Source, ...]:
    return find_sources([str(photos)], tmp_path / "out", dotless=True)


@pytest.fixture
def recipe(bundle: Path, sources: tuple[Source, ...]) -> Callable[..., Recipe]:
    """`recipe(**fields)`: a recipe for `sources`; `fields` replace those of its settings."""

    def build(**fields: Any) -> Recipe:
        whole: dict[str, Any] = {
            "bundle": "ab" * 32,
            "seed": SEED,
            "count": 2,
            "strength": (0.0, 0.25),
            "degradation": "mild",
            "degradation_sha256": "cd" * 32,
            "scale": 4,
            "channel_order": "rgb",
            "with_hq": False,
            "memory": 10**9,
            "precision": "fp32",
            "threads": 1,
            "inputs": names_digest(sources),
            "versions": {"lqhq": "0"},
        }
        settings = Settings(**(whole | fields))
        return Recipe(bundle=bundle, degradation=load_degradation(settings.degradation), settings=settings)

    return build


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`full_disk(room)`: from now on `room` bytes can be written, the last of them as a part of what was asked."""
    write = os.write

    def fill(room: int) -> None:
        left = [room]

        def limited(descriptor: int, data: bytes) -> int:
            if not left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            count = write(descriptor, bytes(data)[: left[0]])
            left[0] -= count
            return count

        monkeypatch.setattr(os, "write", limited)

    return fill
