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
from lqhq.runtime.session import Feed, Fetch, fetched
from lqhq.runtime.sink import ImageSink
from lqhq.runtime.tiles import TilePlan

__all__ = ["sampling"]

Array = NDArray[np.float32]


def sampling(
    source: PreparedImage, *, schedule: Schedule, plan: TilePlan, blend: str, noise: NoiseField, sink: ImageSink
) -> Stages:
    """The stages of one image through `schedule`; `blend` is "final" or "each"."""
    stages = _StageOuter if blend == "each" else _TileOuter
    return stages(source, schedule, plan, noise, sink)


def _feed(schedule: Schedule, row: int, state: Array) -> Feed:
    """`state` `[1, 3, h, w]` and `t` `[1]`."""
    return {"state": state[None], "t": np.array([schedule.rows[row].t], np.float32)}


def _outputs(schedule: Schedule, call: Call, fetch: Fetch) -> tuple[Array, Array | None]:
    """`pred`, and `var` where the row's noise is learned. Raises `EngineError` where one is missing."""
    pred = fetched("denoise", fetch, "pred", (3, *call.box.size))
    if schedule.rows[call.row].log_sigma is None:
        return pred, None
    return pred, fetched("denoise", fetch, "var", (3, *call.box.size))


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
        self._canvas = Canvas(plan, 3, sink.rows)
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
        return _feed(self._schedule, call.row, self._tiles[call.tile].state)

    def done(self, call: Call, fetch: Fetch) -> None:
        pred, var = _outputs(self._schedule, call, fetch)
        at, rows, row = self._tiles[call.tile], self._schedule.rows, call.row
        at.state, v = step_box(rows[row], row, at.state, pred, var, at.history, self._noise, call.box)
        if row + 1 == len(rows):
            del self._tiles[call.tile]
            self._canvas.add(call.tile, at.state)
            return
        at.history = [v, *at.history][: self._schedule.depth]
        self._waiting.append(call._replace(row=row + 1))


class _StageOuter:
    """`each`: all tiles of a row are blended into one prediction, which moves the one shared state."""

    def __init__(
        self, source: PreparedImage, schedule: Schedule, plan: TilePlan, noise: NoiseField, sink: ImageSink
    ) -> None:
        self._schedule, self._plan, self._noise, self._sink = schedule, plan, noise, sink
        whole = Box(0, 0, *plan.canvas)
        self._state = np.ascontiguousarray(start_state(schedule, source.read(whole), noise, whole))
        self._history: list[Array] = []
        self._begin(0)

    def _begin(self, row: int) -> None:
        self._row, self._given, self._finished = row, 0, 0
        self._v = np.empty_like(self._state) if self._schedule.depth else None
        channels = 6 if self._schedule.rows[row].log_sigma is not None else 3
        self._canvas = Canvas(self._plan, channels, self._step_rows)

    @property
    def total(self) -> int:
        return len(self._plan) * len(self._schedule.rows)

    def ready(self) -> Call | None:
        if self._given == len(self._plan):
            return None
        self._given += 1
        return Call("denoise", self._given - 1, self._row, self._plan.box(self._given - 1))

    def feed(self, call: Call) -> Feed:
        return _feed(self._schedule, call.row, self._state[:, call.box.rows, call.box.columns])

    def done(self, call: Call, fetch: Fetch) -> None:
        pred, var = _outputs(self._schedule, call, fetch)
        self._canvas.add(call.tile, pred if var is None else np.concatenate([pred, var]))
        if not self._canvas.complete:
            return
        if self._v is not None:
            self._history = [self._v, *self._history][: self._schedule.depth]
        if call.row + 1 < len(self._schedule.rows):
            self._begin(call.row + 1)
        else:
            self._sink.rows(0, self._state)

    def _step_rows(self, top: int, blended: Array) -> None:
        """Blended rows are final: step them in place. No tile that is still to run reads rows this far up."""
        box = Box(top, 0, blended.shape[1], blended.shape[2])
        row = self._schedule.rows[self._row]
        var = blended[3:] if len(blended) > 3 else None
        history = [value[:, box.rows] for value in self._history]
        state = self._state[:, box.rows]
        after, v = step_box(row, self._row, state, blended[:3], var, history, self._noise, box)
        self._state[:, box.rows] = after
        if self._v is not None:
            self._v[:, box.rows] = v
