"""Stages of a guided restoration: `reduce` and `encode` make a vector, `decode` restores tiles with it.

The vector belongs to the image or to each tile:

- "image": `reduce` runs over tiles of its own, whose masks let every pixel count exactly once, so the sums are those
  of the whole image, and all tiles share one vector;
- "tile": each tile is an image of its own, with the same noise.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.canvas import Canvas
from lqhq.runtime.geometry import Box
from lqhq.runtime.job import NO_PIXELS, Call, Stages
from lqhq.runtime.noise import NoiseField
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.session import Feed, Fetch, fetched
from lqhq.runtime.sink import ImageSink
from lqhq.runtime.tiles import TilePlan

__all__ = ["guided"]

Array = NDArray[np.float32]


def guided(
    source: PreparedImage,
    *,
    prior: str,
    plan: TilePlan,
    reduction: TilePlan,
    multiple: int,
    growth: int,
    noise: NoiseField,
    sink: ImageSink,
) -> Stages:
    """The stages of one image; `prior` is "image" or "tile", `reduction` the tiles of `reduce` for "image".

    Cores of those tiles are cut at multiples of `multiple`; the result is `growth` times the canvas.
    """
    decoding = _Decoding(source, plan, growth, sink)
    if prior == "tile":
        return _PriorPerTile(decoding, noise)
    return _PriorPerImage(decoding, reduction, multiple, noise)


class _Decoding:
    """What both ways share: the image, the plan, and the canvas of the result."""

    def __init__(self, source: PreparedImage, plan: TilePlan, growth: int, sink: ImageSink) -> None:
        self.source, self.plan, self._growth = source, plan, growth
        self._canvas = Canvas(plan.scaled(growth), 3, sink.rows, boxes=sink.boxes)

    def feed(self, box: Box, cond: Array) -> Feed:
        return {"lq": self.source.read(box)[None], "cond": cond[None]}

    def done(self, call: Call, fetch: Fetch) -> None:
        size = call.box.size.scaled(self._growth)
        self._canvas.add(call.tile, fetched("decode", fetch, "hq", (3, *size)))


class _Sums:
    """Outputs of `reduce`, added in the order of tiles, so that the bytes do not depend on who finished first."""

    def __init__(self, count: int) -> None:
        self._parts: list[tuple[Array, Array] | None] = [None] * count

    def add(self, tile: int, fetch: Fetch) -> None:
        self._parts[tile] = fetched("reduce", fetch, "sums"), fetched("reduce", fetch, "count", (1,))

    @property
    def complete(self) -> bool:
        return None not in self._parts

    def pooled(self) -> Array:
        """Sum of sums over sum of counts, in float64 on the way."""
        parts = [part for part in self._parts if part is not None]
        total = np.array([sums for sums, _ in parts], np.float64).sum(axis=0)
        count = np.array([count for _, count in parts], np.float64).sum(axis=0)
        pooled: Array = (total / count).astype(np.float32)
        return pooled


def _reduce_feed(source: PreparedImage, box: Box, core: Box) -> Feed:
    """`lq` `[1, C, h, w]` and `mask` `[1, 1, h, w]`, 1 inside the core."""
    mask = np.zeros((1, 1, *box.size), np.float32)
    top, left = core.top - box.top, core.left - box.left
    mask[:, :, top : top + core.height, left : left + core.width] = 1
    return {"lq": source.read(box)[None], "mask": mask}


class _PriorPerImage:
    """All of `reduce`, then `encode` once, then all of `decode`."""

    def __init__(self, decoding: _Decoding, reduction: TilePlan, multiple: int, noise: NoiseField) -> None:
        self._decoding, self._reduction, self._multiple, self._noise = decoding, reduction, multiple, noise
        self._sums = _Sums(len(reduction))
        self._cond: Array | None = None
        self._given = 0

    @property
    def total(self) -> int:
        return len(self._reduction) + 1 + len(self._decoding.plan)

    def ready(self) -> Call | None:
        first, at = len(self._reduction), self._given
        if at >= self.total or (at == first and not self._sums.complete) or (at > first and self._cond is None):
            return None
        self._given += 1
        if at < first:
            return Call("reduce", at, 0, self._reduction.box(at))
        tile = at - first - 1
        return Call("encode", 0, 0, NO_PIXELS) if tile < 0 else Call("decode", tile, 0, self._decoding.plan.box(tile))

    def feed(self, call: Call) -> Feed:
        if call.role == "reduce":
            core = self._reduction.core(call.tile, multiple=self._multiple)
            return _reduce_feed(self._decoding.source, call.box, core)
        if call.role == "encode":
            return {"pooled": self._sums.pooled()[None], "noise": self._noise.prior()[None]}
        assert self._cond is not None
        return self._decoding.feed(call.box, self._cond)

    def done(self, call: Call, fetch: Fetch) -> None:
        if call.role == "reduce":
            self._sums.add(call.tile, fetch)
        elif call.role == "encode":
            self._cond = fetched("encode", fetch, "cond")
        else:
            self._decoding.done(call, fetch)


class _PriorPerTile:
    """Each tile through all three roles; a started tile goes on before a new one starts."""

    def __init__(self, decoding: _Decoding, noise: NoiseField) -> None:
        self._decoding, self._noise = decoding, noise
        self._vectors: dict[int, Array] = {}  # what the tile's next call takes: pooled, then cond
        self._waiting: deque[Call] = deque()
        self._unstarted = 0

    @property
    def total(self) -> int:
        return 3 * len(self._decoding.plan)

    def ready(self) -> Call | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._unstarted == len(self._decoding.plan):
            return None
        self._unstarted += 1
        return Call("reduce", self._unstarted - 1, 0, self._decoding.plan.box(self._unstarted - 1))

    def feed(self, call: Call) -> Feed:
        if call.role == "reduce":
            return _reduce_feed(self._decoding.source, call.box, call.box)
        vector = self._vectors[call.tile]
        if call.role == "encode":
            return {"pooled": vector[None], "noise": self._noise.prior()[None]}
        return self._decoding.feed(call.box, vector)

    def done(self, call: Call, fetch: Fetch) -> None:
        if call.role == "reduce":
            sums = _Sums(1)
            sums.add(0, fetch)
            self._vectors[call.tile] = sums.pooled()
            self._waiting.append(Call("encode", call.tile, 0, NO_PIXELS))
        elif call.role == "encode":
            self._vectors[call.tile] = fetched("encode", fetch, "cond")
            self._waiting.append(Call("decode", call.tile, 0, self._decoding.plan.box(call.tile)))
        else:
            del self._vectors[call.tile]
            self._decoding.done(call, fetch)
