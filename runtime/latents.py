"""Stages of a latent model: words become a condition, pixels a state, rows move the state, and pixels come of it.

Each stage begins when the one before it is done. Beside the image's own stages there is only what all its tiles share:
its condition, made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.job import NO_PIXELS, Call, Stages
from lqhq.runtime.session import Feed, Fetch, fetched

__all__ = ["Chain", "Later", "decoding", "encoding", "tagging", "worded"]

Array = NDArray[np.float32]
Ids = NDArray[np.int64]


class Chain:
    """Stages one after the other; each reads what those before it have left."""

    def __init__(self, stages: Sequence[Stages]) -> None:
        self._stages = stages
        self._at = self._done = 0

    @property
    def total(self) -> int:
        return sum(stage.total for stage in self._stages)

    def ready(self) -> Call | None:
        while self._at < len(self._stages) and self._done == self._stages[self._at].total:
            self._at, self._done = self._at + 1, 0
        return None if self._at == len(self._stages) else self._stages[self._at].ready()

    def feed(self, call: Call) -> Feed:
        return self._stages[self._at].feed(call)

    def done(self, call: Call, fetch: Fetch) -> None:
        self._stages[self._at].done(call, fetch)
        self._done += 1


class Later:
    """Stages that take memory as soon as they are made: they are, by `make`, when the first call is asked for."""

    def __init__(self, total: int, make: Callable[[], Stages]) -> None:
        self.total, self._make = total, make
        self._made: Stages | None = None

    def ready(self) -> Call | None:
        return self._stages.ready()

    def feed(self, call: Call) -> Feed:
        return self._stages.feed(call)

    def done(self, call: Call, fetch: Fetch) -> None:
        self._stages.done(call, fetch)

    @property
    def _stages(self) -> Stages:
        if self._made is None:
            self._made = self._make()
        return self._made


class _Once:
    """One call of `role` on `box`: `make()` gives its inputs, `take(fetch)` gets its outputs."""

    total = 1

    def __init__(self, role: str, box: Box, make: Callable[[], Feed], take: Callable[[Fetch], None]) -> None:
        self._call: Call | None = Call(role, 0, 0, box)
        self._make, self._take = make, take

    def ready(self) -> Call | None:
        call, self._call = self._call, None
        return call

    def feed(self, call: Call) -> Feed:
        return self._make()

    def done(self, call: Call, fetch: Fetch) -> None:
        self._take(fetch)


def tagging(square: Callable[[], Array], take: Callable[[Array], None]) -> Stages:
    """`tag` on `square()` `[3, S, S]`; `take` gets the logits `[K]`."""

    def done(fetch: Fetch) -> None:
        take(fetched("tag", fetch, "logits"))

    return _Once("tag", NO_PIXELS, lambda: {"image": square()[None]}, done)


def worded(ids: Callable[[], Ids], take: Callable[[Array], None]) -> Stages:
    """`text` on `ids()` `[1, length]`; `take` gets the condition `[length, D]`."""
    return _Once("text", NO_PIXELS, lambda: {"ids": ids()}, lambda fetch: take(fetched("text", fetch, "cond")))


def encoding(
    read: Callable[[Box], Array],
    noise: Callable[[Box], Array],
    canvas: Size,
    *,
    factor: int,
    take: Callable[[Array], None],
) -> Stages:
    """`encode` on the whole image: `read` gives a box of it, `[3, h, w]` float32 in the network's range.

    `canvas` is the latent one, of which `noise` gives a box. `take` gets the state `[C, H, W]`.
    """
    whole = Box(0, 0, *canvas)

    def make() -> Feed:
        return {"lq": read(Box(0, 0, *canvas.scaled(factor)))[None], "noise": noise(whole)[None]}

    def done(fetch: Fetch) -> None:
        take(fetched("encode", fetch, "state", noise(whole).shape))  # the state has the shape of its noise

    return _Once("encode", whole, make, done)


def decoding(state: Callable[[], Array], canvas: Size, *, factor: int, rows: Callable[[int, Any], None]) -> Stages:
    """`decode` of the whole state; `rows(top, pixels)` gets `[3, H * factor, W * factor]`."""

    def take(fetch: Fetch) -> None:
        rows(0, fetched("decode", fetch, "hq", (3, *canvas.scaled(factor))))

    return _Once("decode", Box(0, 0, *canvas), lambda: {"state": state()[None]}, take)
