"""Rows of a schedule over a whole canvas: each row runs over all tiles and is blended before the next.

Overlaps agree at every step, so there are no ghosts. It holds the whole state: for latents, which are small, and where
asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.canvas import Canvas
from lqhq.runtime.geometry import Box
from lqhq.runtime.job import Call
from lqhq.runtime.noise import NoiseField
from lqhq.runtime.row_step import step_box
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.session import Feed, Fetch, fetched
from lqhq.runtime.tiles import TilePlan
from lqhq.runtime.window import Window

__all__ = ["StageOuter", "row_outputs"]

Array = NDArray[np.float32]


def row_outputs(schedule: Schedule, call: Call, fetch: Fetch, channels: int) -> tuple[Array, Array | None]:
    """`pred`, and `var` where the row's noise is learned. Raises `EngineError` where one is missing."""
    shape = (channels, *call.box.size)
    pred = fetched("denoise", fetch, "pred", shape)
    return pred, fetched("denoise", fetch, "var", shape) if schedule.rows[call.row].log_sigma is not None else None


class StageOuter:
    """All tiles of a row are blended into one prediction, which moves the one shared state.

    `start()` gives the state `[C, H, W]` when the first call is made ready, `finish(state)` takes the last one.
    `extra(row)` are the inputs of the graph beside `state`; `window` is how tiles are blended.
    """

    def __init__(
        self,
        schedule: Schedule,
        plan: TilePlan,
        noise: NoiseField,
        *,
        channels: int,
        start: Callable[[], Array],
        extra: Callable[[int], Feed],
        finish: Callable[[Array], None],
        window: Window = "ramp",
    ) -> None:
        self._schedule, self._plan, self._noise, self._channels = schedule, plan, noise, channels
        self._start, self._extra, self._finish, self._window = start, extra, finish, window
        self._state: Array | None = None
        self._history: list[Array] = []
        self._row = self._given = 0

    @property
    def total(self) -> int:
        return len(self._plan) * len(self._schedule.rows)

    def ready(self) -> Call | None:
        if self._state is None:
            self._state = np.ascontiguousarray(self._start())
            self._begin(self._state, 0)
        if self._given == len(self._plan):
            return None
        self._given += 1
        return Call("denoise", self._given - 1, self._row, self._plan.box(self._given - 1))

    def feed(self, call: Call) -> Feed:
        assert self._state is not None  # a call was given out
        return {"state": self._state[None, :, call.box.rows, call.box.columns], **self._extra(call.row)}

    def done(self, call: Call, fetch: Fetch) -> None:
        assert self._state is not None
        pred, var = row_outputs(self._schedule, call, fetch, self._channels)
        self._canvas.add(call.tile, pred if var is None else np.concatenate([pred, var]))
        if not self._canvas.complete:
            return
        if self._v is not None:
            self._history = [self._v, *self._history][: self._schedule.depth]
        if call.row + 1 < len(self._schedule.rows):
            self._begin(self._state, call.row + 1)
        else:
            self._finish(self._state)

    def _begin(self, state: Array, row: int) -> None:
        self._row, self._given = row, 0
        self._v = np.empty_like(state) if self._schedule.depth else None
        channels = self._channels * (2 if self._schedule.rows[row].log_sigma is not None else 1)
        self._canvas = Canvas(self._plan, channels, self._step_rows, window=self._window)

    def _step_rows(self, top: int, blended: Array) -> None:
        """Blended rows are final: step them in place. No tile that is still to run reads rows this far up."""
        assert self._state is not None
        box = Box(top, 0, blended.shape[1], blended.shape[2])
        row = self._schedule.rows[self._row]
        var = blended[self._channels :] if len(blended) > self._channels else None
        history = [value[:, box.rows] for value in self._history]
        state, pred = self._state[:, box.rows], blended[: self._channels]
        after, v = step_box(row, self._row, state, pred, var, history, self._noise, box)
        self._state[:, box.rows] = after
        if self._v is not None:
            self._v[:, box.rows] = v
