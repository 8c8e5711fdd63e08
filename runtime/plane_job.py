"""One plane of an image, colour or alpha, as a Job: which stages it goes through, and with which noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.autotile import Choice
from lqhq.runtime.bundle_sessions import give_back_all
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.guided import guided
from lqhq.runtime.job import Job
from lqhq.runtime.latent_job import LatentRun, Told
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.noise import NoiseField, row_shapes
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.sampling import sampling
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.sink import ImageSink
from lqhq.runtime.view import View
from lqhq.runtime.words import Asked, Words

__all__ = ["PlaneRun", "Tiles", "plane_job"]

CHANNELS = 3

Tiles = Callable[[Box, NDArray[Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneRun:
    """How the planes of one image are run. `words` is None where the bundle reads no prompt."""

    view: View
    schedule: Schedule | None
    choice: Choice | LatentChoice
    blend: str
    prior: str
    words: Words | None
    asked: Asked
    scratch: Path | None
    seed: int
    noise: Mapping[str, NDArray[np.float32]] | None
    hole: NDArray[np.bool_] | None


def plane_job(source: PreparedImage, given: NDArray[Any], run: PlaneRun, told: Told, tiles: Tiles | None) -> Job:
    """The Job that restores `source`.

    `given` `[H, W, 1 or 3]` is the plane as it came: of it the pixels are kept where the manifest composites. `tiles`
    hears of finished boxes, where tiles are blended at the end. Raises `OptionError` for a seed or noise that cannot
    be.
    """
    manifest = run.view.manifest
    sink = ImageSink(
        source.size.scaled(manifest.growth),
        channels=given.shape[2],
        dtype=given.dtype,
        manifest=manifest,
        given=given if manifest.masked else None,
        hole=run.hole,
        tiles=tiles,
    )
    noise = NoiseField(seed=run.seed, shapes=_streams(source, run.schedule, manifest), injected=run.noise)
    if isinstance(run.choice, LatentChoice):
        return Job(_latents(run, run.choice).stages(source, noise, sink, told), sink)
    plan, schedule, reduction = run.choice.plan, run.schedule, run.choice.reduction
    if schedule is not None:
        return Job(
            sampling(source, schedule=schedule, plan=plan, blend=run.blend, noise=noise, sink=sink),
            sink,
        )
    assert reduction is not None  # a manifest without schedules has it
    stages = guided(
        source,
        prior=run.prior,
        plan=plan,
        reduction=reduction,
        multiple=manifest.tiles.multiple,
        growth=manifest.growth,
        noise=noise,
        sink=sink,
    )
    return Job(stages, sink)


def _latents(run: PlaneRun, choice: LatentChoice) -> LatentRun:
    assert run.schedule is not None  # a latent model has a graph for denoise, and so schedules
    return LatentRun(
        manifest=run.view.manifest,
        schedule=run.schedule,
        choice=choice,
        window=run.view.window,
        words=run.words,
        asked=run.asked,
        scratch=run.scratch,
        freed=give_back_all,
    )


def _streams(source: PreparedImage, schedule: Schedule | None, manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The noise that one plane draws."""
    latent = manifest.latent
    if latent is not None and schedule is not None:
        size = Size(*(side // latent.factor for side in source.canvas))
        drawn = row_shapes(latent.channels, size, len(schedule.rows))
        needed = {"start": schedule.start.c_noise != 0, "step": any(row.noisy for row in schedule.rows)}
        return {name: drawn[name] for name in drawn if needed[name]} | {"posterior": (latent.channels, *size)}
    if schedule is not None:
        return row_shapes(CHANNELS, source.size, len(schedule.rows))
    width = manifest.graphs["encode"]["fp32"].inputs["noise"].shape[1]
    assert isinstance(width, int)  # the role's contract was checked when the bundle was opened
    return {"prior": (width,)}
