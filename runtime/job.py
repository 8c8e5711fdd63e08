"""A request as a state machine: the only owner of its tiles' states, canvases and history.

`ready()` says what could run now, `done()` takes what ran, `result()` is the finished image. A Job runs nothing
itself, so one driver can batch the work of many. Two ways to go through the schedule:

- `final`: every tile runs all rows, then pixels are blended. Holds one row of tiles; any image size.
- `each`: every row runs over all tiles and is blended before the next, so overlaps agree at every step. Holds
  the whole state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.canvas import Canvas
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Box
from lqhq.runtime.noise import NoiseField
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.row_step import start_state, step_box
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.session import Feed, Fetch
from lqhq.runtime.sink import ImageSink
from lqhq.runtime.tiles import TilePlan

__all__ = ["Job", "Work"]

Array = NDArray[np.float32]


class _Stages(Protocol):
    """How one blend mode goes through rows and tiles."""

    def ready(self) -> tuple[int, int] | None: ...

    def state(self, tile: int) -> Array: ...

    def done(self, tile: int, row: int, pred: Array, var: Array | None) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One call of one graph for one tile. `key` is equal for works that may share a batch."""

    job: Job
    role: str
    tile: int
    row: int
    box: Box

    @property
    def key(self) -> tuple[str, int, int]:
        return (self.role, *self.box.size)

    def feed(self) -> Feed:
        """The graph's inputs for this one sample, `[1, ...]`; made when asked for, so waiting work is small."""
        return self.job.feed(self)


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
        self._waiting: deque[tuple[int, int]] = deque()
        self._unstarted = 0

    def ready(self) -> tuple[int, int] | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._unstarted == len(self._plan):
            return None
        self._unstarted += 1
        return self._unstarted - 1, 0

    def state(self, tile: int) -> Array:
        if tile not in self._tiles:
            box = self._plan.box(tile)
            image = self._source.read(box)
            self._tiles[tile] = _Tile(start_state(self._schedule, image, self._noise, box))
        return self._tiles[tile].state

    def done(self, tile: int, row: int, pred: Array, var: Array | None) -> None:
        at, rows = self._tiles[tile], self._schedule.rows
        box = self._plan.box(tile)
        at.state, v = step_box(rows[row], row, at.state, pred, var, at.history, self._noise, box)
        if row + 1 == len(rows):
            del self._tiles[tile]
            self._canvas.add(tile, at.state)
            return
        at.history = [v, *at.history][: self._schedule.depth]
        self._waiting.append((tile, row + 1))


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

    def ready(self) -> tuple[int, int] | None:
        if self._given == len(self._plan):
            return None
        self._given += 1
        return self._given - 1, self._row

    def state(self, tile: int) -> Array:
        box = self._plan.box(tile)
        return self._state[:, box.rows, box.columns]

    def done(self, tile: int, row: int, pred: Array, var: Array | None) -> None:
        noisy = self._schedule.rows[row].log_sigma is not None
        self._canvas.add(tile, np.concatenate([pred, var]) if noisy and var is not None else pred)
        if not self._canvas.complete:
            return
        if self._v is not None:
            self._history = [self._v, *self._history][: self._schedule.depth]
        if row + 1 < len(self._schedule.rows):
            self._begin(row + 1)
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


class Job:
    """One image on its way through one schedule. Not thread-safe: one driver owns it at a time."""

    def __init__(
        self,
        source: PreparedImage,
        *,
        schedule: Schedule,
        plan: TilePlan,
        blend: str,
        noise: NoiseField,
        sink: ImageSink,
    ) -> None:
        stages: type[_TileOuter] | type[_StageOuter] = _StageOuter if blend == "each" else _TileOuter
        self._stages: _Stages = stages(source, schedule, plan, noise, sink)
        self._schedule, self._plan, self._sink = schedule, plan, sink
        self._done = 0

    @property
    def total(self) -> int:
        """Works from start to end."""
        return len(self._plan) * len(self._schedule.rows)

    @property
    def finished(self) -> bool:
        return self._done == self.total

    def ready(self, limit: int) -> list[Work]:
        """Up to `limit` works that can run now; each is given out once. Empty while all depends on what is out."""
        works: list[Work] = []
        while len(works) < limit and (at := self._stages.ready()) is not None:
            tile, row = at
            works.append(Work(self, "denoise", tile, row, self._plan.box(tile)))
        return works

    def feed(self, work: Work) -> Feed:
        """`state` `[1, 3, h, w]` and `t` `[1]`, float32."""
        t = np.array([self._schedule.rows[work.row].t], np.float32)
        return {"state": self._stages.state(work.tile)[None], "t": t}

    def done(self, work: Work, fetch: Mapping[str, Array] | Fetch) -> None:
        """Take what the graph gave for `work`, `[1, ...]` each. Raises `EngineError` on a missing output."""
        if "pred" not in fetch or fetch["pred"].shape[1:] != (3, *work.box.size):
            raise EngineError(
                "denoise",
                found=f"outputs { {name: array.shape for name, array in fetch.items()} }",
                expected=f"pred of shape {(1, 3, *work.box.size)}",
                mend="The bundle's graph does not keep the size; export the checkpoint again.",
            )
        var = fetch["var"][0] if "var" in fetch else None
        learned = self._schedule.rows[work.row].log_sigma is not None
        if learned and (var is None or var.shape != (3, *work.box.size)):
            raise EngineError(
                "denoise",
                found="no output var" if var is None else f"var of shape {var.shape}",
                expected=f"var of shape {(3, *work.box.size)}: this row's noise is learned",
                mend="Use a schedule without learned variance, or a bundle whose graph gives it.",
            )
        self._stages.done(work.tile, work.row, fetch["pred"][0], var)
        self._done += 1

    def result(self) -> NDArray[Any]:
        """The finished image, as the sink made it. Raises `ValueError` before `finished`."""
        if not self.finished:
            raise ValueError(f"{self._done} of {self.total} works are done")
        return self._sink.image
