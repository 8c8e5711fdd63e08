"""One image through a latent model: which stages there are, and what they leave for one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.geometry import Box
from lqhq.runtime.job import Stages
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.latents import Chain, Later, decoding, encoding, tagging, worded
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.noise import NoiseField
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.row_step import start_state
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.scratch import ScratchFolder
from lqhq.runtime.segment_canvas import HeldCanvas, RowReader
from lqhq.runtime.segments import RowWriter, Segmented
from lqhq.runtime.session import Feed
from lqhq.runtime.sink import ImageSink
from lqhq.runtime.stage_outer import StageOuter
from lqhq.runtime.tags import tag_image
from lqhq.runtime.window import Window
from lqhq.runtime.words import Asked, Words

__all__ = ["LatentRun", "Told"]

Array = NDArray[np.float32]


@dataclass(slots=True)
class Told:
    """The condition of an image `[length, D]`, once it is made, by so many `calls`: all of its planes share it."""

    cond: Array | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentRun:
    """How one request is run, whatever its planes."""

    manifest: Manifest
    schedule: Schedule
    choice: LatentChoice
    window: Window
    words: Words | None  # None where the prompt is baked
    asked: Asked
    scratch: Path | None
    freed: Callable[[], None] = lambda: None  # after large canvases in memory went

    def stages(self, source: PreparedImage, noise: NoiseField, sink: ImageSink, told: Told) -> Stages:
        """The stages of one plane into `sink`."""
        return _Plane(self, source, noise, sink, told).chain()


class _Plane:
    """What the stages of one plane leave for one another."""

    def __init__(self, run: LatentRun, source: PreparedImage, noise: NoiseField, sink: ImageSink, told: Told) -> None:
        self._run, self._source, self._noise, self._sink, self._told = run, source, noise, sink, told
        self._latent = run.choice.plan.canvas
        self._logits: Array | None = None
        self._state: Array | None = None

    def chain(self) -> Chain:
        return Chain([*self._wording(), self._encode(), self._denoise(), self._decode()])

    def _wording(self) -> list[Stages]:
        words, asked, stages = self._run.words, self._run.asked, list[Stages]()
        if words is None or self._told.cond is not None:
            return stages
        if asked.tagger:
            stages.append(tagging(self._square, self._take_logits))
        stages.append(worded(lambda: words.ids(asked, self._logits), self._take_cond))
        self._told.calls = len(stages)
        return stages

    def _square(self) -> Array:
        assert self._run.manifest.tagger is not None  # tags were asked for, and the bundle has them
        return tag_image(self._source.pixels, self._source.size, self._run.manifest.tagger.side)

    def _take_logits(self, logits: Array) -> None:
        self._logits = logits

    def _take_cond(self, cond: Array) -> None:
        self._told.cond = cond

    def _take_state(self, state: Array) -> None:
        self._state = state

    def _held(self) -> Array:
        assert self._state is not None  # the stage before this one is done
        return self._state

    def _encode(self) -> Stages:
        factor = self._run.choice.factor
        if self._run.choice.encode == "whole":
            return encoding(
                self._source.read, self._noise.posterior, self._latent, factor=factor, take=self._take_state
            )
        image = self._latent.scaled(factor)
        state = self._state = np.empty((self._channels, *self._latent), np.float32)

        def store(top: int, rows: Array) -> None:
            state[:, top : top + rows.shape[1]] = rows

        inputs: dict[str, RowReader] = {
            "input": lambda top, count: self._source.read(Box(top, 0, count, image.width)),
            "noise": lambda top, count: self._noise.posterior(Box(top, 0, count, self._latent.width)),
        }
        return self._segmented("encode", inputs, store)

    def _denoise(self) -> Stages:
        run = self._run
        whole = Box(0, 0, *self._latent)

        def extra(row: int) -> Feed:
            cond, times = self._told.cond, run.manifest.graphs["denoise"]["fp32"].inputs
            given: dict[str, Array] = {} if cond is None else {"cond": cond[None]}
            return given | ({"t": np.array([run.schedule.rows[row].t], np.float32)} if "t" in times else {})

        return StageOuter(
            run.schedule,
            run.choice.plan,
            self._noise,
            channels=self._channels,
            start=lambda: start_state(run.schedule, self._held(), self._noise, whole),
            extra=extra,
            finish=self._take_state,
            window=run.window,
        )

    def _decode(self) -> Stages:
        if self._run.choice.decode == "whole":
            return decoding(self._held, self._latent, factor=self._run.choice.factor, rows=self._sink.rows)
        inputs: dict[str, RowReader] = {"input": lambda top, count: self._held()[:, top : top + count]}
        return self._segmented("decode", inputs, self._sink.rows)

    def _segmented(self, role: str, inputs: Mapping[str, RowReader], output: RowWriter) -> Stages:
        choice = self._run.choice
        form = choice.encode if role == "encode" else choice.decode
        held = partial(HeldCanvas, freed=self._run.freed)
        canvas = ScratchFolder(self._run.scratch) if form == "scratch" else held
        steps = choice.steps[role]
        total = sum(step.count for step in steps)
        return Later(total, lambda: Segmented(role, steps, inputs=inputs, output=output, canvas=canvas))

    @property
    def _channels(self) -> int:
        latent = self._run.manifest.latent
        assert latent is not None  # a run of latents has them
        return latent.channels
