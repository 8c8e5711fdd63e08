"""Synthesis as lqhq runs it: one image through the bundle's own door. No torch in this process."""

from __future__ import annotations

import numpy as np
from measuring.entry import Entry
from measuring.scene import SEED, scene
from numpy.typing import NDArray

from lqhq.runtime import Restorer

__all__ = ["MEMORY", "schedule_name", "start_noise", "synthesised"]

MEMORY = 4_000_000_000  # what `lqhq synthesize` gives a worker


def start_noise(side: int) -> NDArray[np.float32]:
    """N(0, 1) of the start, `[3, side, side]`: what contenders are given where their answers are compared."""
    return np.random.default_rng(SEED).standard_normal((3, side, side), dtype=np.float32)


def schedule_name(restorer: Restorer, steps: int, side: int) -> str:
    """The bundle's schedule of so many calls. Raises `SystemExit` where it has none, or would cut the image up."""
    synthesis = restorer.bundle.manifest.synthesis
    if synthesis is None or steps > len(synthesis.schedules):
        raise SystemExit(f"{restorer.bundle.manifest.name}: no schedule of {steps} calls")
    name = synthesis.schedules[steps - 1]
    plan = restorer.plan(scene(side, side), schedule=name, memory=MEMORY).plan
    if len(plan) != 1:
        raise SystemExit(f"{side}x{side}: {len(plan)} tiles; expected one, as the other contender's")
    return name


def synthesised(bundle: str, side: int, steps: int, threads: int) -> Entry:
    """An image `[side, side, 3]` uint8 in memory to its partner; noise is drawn, and given only for the answer."""
    restorer = Restorer.open(bundle, threads=threads)
    name = schedule_name(restorer, steps, side)
    image = scene(side, side)
    given = {"start": start_noise(side)}
    return Entry(
        run=lambda: restorer.restore(image, schedule=name, memory=MEMORY, seed=SEED),
        answer=lambda: restorer.restore(image, schedule=name, memory=MEMORY, noise=given),
        note=f"whole, schedule {name}",
    )
