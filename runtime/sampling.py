"""Stages of a sampler: the rows of a schedule over the tiles of a canvas, one graph `denoise`.

Two ways to go through them:

- `final`: every tile runs all rows, then pixels are blended. Holds one row of tiles; any image size.
- `each`: every row runs over all tiles and is blended before the next, so overlaps agree at every step. Holds
  the whole state.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.canvas import Canvas
from lqhq.runtime.geometry import Box
from lqhq.runtime.job import Call, Stages
from lqhq.runtime.noise import NoiseField
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.row_step import start_state, step_box
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.session import Feed, Fetch
from lqhq.runtime.sink import ImageSink
from lqhq.runtime.stage_outer import StageOuter, row_outputs
from lqhq.runtime.tiles import TilePlan

__all__ = ["sampling"]

Array = NDArray[np.float32]
CHANNELS = 3


def sampling(
    source: PreparedImage, *, schedule: Schedule, plan: TilePlan, blend: str, noise: NoiseField, sink: ImageSink
) -> Stages:
    """The stages of one image through `schedule`; `blend` is "final" or "each"."""
    if blend == "final":
        return _TileOuter(source, schedule, plan, noise, sink)
    whole = Box(0, 0, *plan.canvas)
    return StageOuter(
        schedule,
        plan,
        noise,
        channels=CHANNELS,
        start=lambda: start_state(schedule, source.read(whole), noise, whole),
        extra=lambda row: _time(schedule, row),
        finish=lambda state: sink.rows(0, state),
    )


def _time(schedule: Schedule, row: int) -> Feed:
    """`t` `[1]`."""
    return {"t": np.array([schedule.rows[row].t], np.float32)}


@dataclass(slots=True)
class _Tile:
    """A tile on its way through the rows."""

    state: Array
    history: list[Array] = field(default_factory=list)


class _TileOuter:
    """`final`: one tile after the other through all rows; a started tile goes on before a new one starts."""

    def __init__(
        self, source: PreparedImage, schedule: Schedule, plan: TilePlan, noise: NoiseField, sink: ImageSink
    ) -> None:
        self._source, self._schedule, self._plan, self._noise = source, schedule, plan, noise
        self._canvas = Canvas(plan, CHANNELS, sink.rows, boxes=sink.boxes)
        self._tiles: dict[int, _Tile] = {}
        self._waiting: deque[Call] = deque()
        self._unstarted = 0

    @property
    def total(self) -> int:
        return len(self._plan) * len(self._schedule.rows)

    def ready(self) -> Call | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._unstarted == len(self._plan):
            return None
        self._unstarted += 1
        return Call("denoise", self._unstarted - 1, 0, self._plan.box(self._unstarted - 1))

    def feed(self, call: Call) -> Feed:
        if call.tile not in self._tiles:
            image = self._source.read(call.box)
            self._tiles[call.tile] = _Tile(start_state(self._schedule, image, self._noise, call.box))
        return {"state": self._tiles[call.tile].state[None], **_time(self._schedule, call.row)}

    def done(self, call: Call, fetch: Fetch) -> None:
        pred, var = row_outputs(self._schedule, call, fetch, CHANNELS)
        at, rows, row = self._tiles[call.tile], self._schedule.rows, call.row
        at.state, v = step_box(rows[row], row, at.state, pred, var, at.history, self._noise, call.box)
        if row + 1 == len(rows):
            del self._tiles[call.tile]
            self._canvas.add(call.tile, at.state)
            return
        at.history = [v, *at.history][: self._schedule.depth]
        self._waiting.append(call._replace(row=row + 1))
