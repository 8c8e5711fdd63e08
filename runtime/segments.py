"""A role run as its segments: strip by strip, norm by norm, over canvases of any size.

A group norm needs the mean and variance of the whole canvas, so a segment ends where a norm begins: its strips are run,
their cores are measured as they are stored, and the next segment is given the statistics as inputs. The result is that
of the whole graph, not an approximation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.geometry import Box
from lqhq.runtime.job import Call
from lqhq.runtime.moments import RowMoments
from lqhq.runtime.segment_canvas import Canvas, CanvasMaker, HeldCanvas, Room, RowReader, new_room
from lqhq.runtime.segment_plan import Step, last_reads
from lqhq.runtime.session import Feed, Fetch, fetched

__all__ = ["RowWriter", "Segmented", "segment_role"]

Array = NDArray[np.float32]
RowWriter = Callable[[int, Array], None]  # (top, rows [C, n, W])
MEASURED = 1 << 14  # pixels at a time, of all channels
MOSTLY = 0.9


def segment_role(role: str, index: int) -> str:
    """What the session of a role's segment is called."""
    return f"{role}/{index:02d}"


class Segmented:
    """The stages of one image through the segments of `role`. See `Stages`, which this is a part of.

    `inputs` give rows of the canvases that the role is given, by name, when they are needed, more than once; rows of
    the result go to `output` from top to bottom, each once. Canvases between are made by `canvas`.
    """

    def __init__(
        self,
        role: str,
        steps: Sequence[Step],
        *,
        inputs: Mapping[str, RowReader],
        output: RowWriter,
        canvas: CanvasMaker = HeldCanvas,
    ) -> None:
        self._role, self._steps, self._inputs, self._output, self._make = role, tuple(steps), inputs, output, canvas
        segments = [step.segment for step in steps]
        self._last_reads = last_reads(segments)
        self._normed = {segment.x for segment in segments if segment.norm is not None}
        self._canvases: dict[str, Canvas] = {}
        self._moments: dict[str, RowMoments] = {}
        self._early: dict[int, Array] = {}  # rows of the result that came before those above them
        self._written = 0
        self._keys: dict[str, Array] = {}
        self._statistics: dict[str, Array] = {}
        self._step = self._steps[0]
        self._spare = _Spare()
        self._begin(0)

    @property
    def total(self) -> int:
        """Calls from start to end."""
        return sum(step.count for step in self._steps)

    @property
    def finished(self) -> bool:
        return self._at == len(self._steps)

    def ready(self) -> Call | None:
        """The next strip; None while the next segment waits for the strips of this one."""
        if self.finished or self._given == self._step.count:
            return None
        strip = self._step.strip(self._given)
        self._given += 1
        across = self._step.x_size.pixels if self._step.segment.kind == "attention" else self._step.x_size.width
        box = Box(strip.first, 0, strip.last - strip.first, across)
        return Call(segment_role(self._role, self._at), self._given - 1, 0, box)

    def feed(self, call: Call) -> Feed:
        """The inputs of a strip, `[1, ...]` each, float32; none changes before the strip is done."""
        segment, width = self._step.segment, self._step.x_size.width
        strip = self._step.strip(call.tile)
        room = self._spare.room(call.tile)
        if segment.kind == "attention":
            return self._tokens(strip.start, strip.stop, room)
        shape = (1, -1, strip.last - strip.first, width)
        feed = {"x": self._rows(segment.x, strip.first, strip.last, room).reshape(shape)}
        if segment.skip is not None:
            feed["skip"] = self._rows(segment.skip, strip.first, strip.last, room).reshape(shape)
        return feed | self._statistics

    def done(self, call: Call, fetch: Fetch) -> None:
        """Take `y` of a strip. Raises `EngineError` where it is missing or of another shape."""
        step, strip = self._step, self._step.strip(call.tile)
        segment = step.segment
        self._spare.free(call.tile)
        if segment.kind == "attention":
            y = fetched(call.role, fetch, "y", (segment.channels, strip.stop - strip.start))
            self._canvases[segment.y].write(strip.start, y)
        else:
            up, down = segment.up, segment.down
            high = (strip.last - strip.first) * up // down
            y = fetched(call.role, fetch, "y", (segment.channels, high, step.y_size.width))
            above, core = (strip.start - strip.first) * up // down, (strip.stop - strip.start) * up // down
            rows = y[:, above : above + core]
            # A canvas may keep them, and with them all of `y`: the halos of low strips would be half as much again.
            self._store(strip.start * up // down, rows if core >= MOSTLY * high else rows.copy())
        self._returned += 1
        if self._returned == step.count:
            self._end()

    def close(self) -> None:
        """Give all canvases back, wherever the work stands. Closing twice is allowed."""
        for canvas in self._canvases.values():
            canvas.close()
        self._canvases.clear()
        self._keys.clear()
        self._spare = _Spare()

    def _rows(self, name: str, first: int, last: int, room: Room) -> Array:
        if name in self._inputs:
            return np.ascontiguousarray(self._inputs[name](first, last - first), np.float32)
        width = self._step.x_size.width
        return self._canvases[name].read(first * width, last * width, room=room)

    def _tokens(self, start: int, stop: int, room: Room) -> Feed:
        """Queries and the skip of tokens `start` to `stop`; keys and values of all, read once."""
        segment, pixels = self._step.segment, self._step.x_size.pixels
        qkv, wide = self._canvases[segment.x], segment.channels
        if not self._keys:
            planes = {"k": slice(wide, 2 * wide), "v": slice(2 * wide, 3 * wide)}
            self._keys = {name: qkv.read(0, pixels, chosen)[None] for name, chosen in planes.items()}
        feed = {"q": qkv.read(start, stop, slice(0, wide), room)[None], **self._keys}
        if segment.skip is not None:
            feed["skip"] = self._canvases[segment.skip].read(start, stop, room=room)[None]
        return feed

    def _store(self, top: int, rows: Array) -> None:
        """Put core rows of `y` where they belong."""
        name = self._step.segment.y
        if name == "output":
            self._early[top] = rows
            while (next_rows := self._early.pop(self._written, None)) is not None:
                self._output(self._written, next_rows)
                self._written += next_rows.shape[1]
            return
        if name in self._moments:
            self._moments[name].add(top, rows)
        self._canvases[name].write(top * rows.shape[2], rows.reshape(len(rows), -1))

    def _begin(self, index: int) -> None:
        self._at, self._given, self._returned = index, 0, 0
        self._keys = {}
        if self.finished:
            self._spare = _Spare()
            return
        self._step = self._steps[index]
        segment = self._step.segment
        self._statistics = {}
        if segment.norm is not None:
            mean, rstd = self._moments.pop(segment.x).normalisers(segment.norm.groups, segment.norm.eps)
            self._statistics = {"mean": mean[None], "rstd": rstd[None]}
        if segment.y != "output":
            self._canvases[segment.y] = self._make(segment.channels, self._step.y_size)
        if segment.y in self._normed:
            self._moments[segment.y] = RowMoments(segment.channels, self._step.y_size)

    def _end(self) -> None:
        """The last strip of a segment is stored: what nobody reads again goes, and the next segment begins."""
        segment = self._step.segment
        if segment.kind == "attention" and segment.y in self._moments:
            self._measure(segment.y)
        for name in [name for name in self._canvases if self._last_reads.get(name, -1) <= self._at]:
            self._canvases.pop(name).close()
        self._begin(self._at + 1)

    def _measure(self, name: str) -> None:
        """Moments of a canvas that came in tokens: chunks need not be whole rows."""
        size, canvas = self._step.x_size, self._canvases[name]
        rows = max(1, MEASURED // size.width)
        for top in range(0, size.height, rows):
            bottom = min(top + rows, size.height)
            values = canvas.read(top * size.width, bottom * size.width)
            self._moments[name].add(top, values.reshape(len(values), -1, size.width))


class _Spare:
    """Arrays that strips were fed from, for strips to come: new ones would be cleared by the kernel first."""

    def __init__(self) -> None:
        self._lent: dict[int, list[Array]] = {}
        self._free: list[Array] = []

    def room(self, strip: int) -> Room:
        """Room for `strip` until it is freed."""

        def taken(values: int) -> Array:
            self._free = [one for one in self._free if one.size >= values]  # sizes settle at the largest
            array = self._free.pop() if self._free else new_room(values)
            self._lent.setdefault(strip, []).append(array)
            return array[:values]

        return taken

    def free(self, strip: int) -> None:
        """What `strip` was fed from is no longer read."""
        self._free += self._lent.pop(strip, ())
