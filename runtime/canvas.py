"""Blends the tiles of a plan into rows, and hands rows over as soon as no later tile can touch them.

Only one row of tiles is held, so a result of any height costs the same. Tiles may arrive in any order; they are
added in the plan's order, so the sums, and with them the bytes, do not depend on who finished first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.blend_tiles import add_tile
from lqhq.runtime.geometry import Box
from lqhq.runtime.tiles import TilePlan
from lqhq.runtime.window import Window, axis_weights

__all__ = ["Canvas"]

Array = NDArray[np.float32]

GAUSSIAN_DROP = 0.5  # the original centres its window half a pixel lower than the tile, and not to the right


class Canvas:
    """Weighted sum of tiles `[C, h, w]`; `sink(top, rows)` gets finished rows `[C, n, W]` from top to bottom.

    `window` is how neighbours are blended: `ramp`, or the original program's Gaussian (see `window.py`). The array
    given to `sink` is reused afterwards: copy what must stay. Where `boxes` is given, it takes the sink's place:
    `boxes(box, part)` gets of each tile, as soon as it was added, what no later tile can touch, `[C, h, w]`; these
    boxes cover the canvas once.
    """

    def __init__(
        self,
        plan: TilePlan,
        channels: int,
        sink: Callable[[int, Array], None],
        window: Window = "ramp",
        *,
        boxes: Callable[[Box, Array], None] | None = None,
    ) -> None:
        self._plan, self._sink, self._boxes = plan, sink, boxes
        (height, width), tile, drop = plan.canvas, plan.tile, GAUSSIAN_DROP if window == "gaussian" else 0.0
        self._row_weights = axis_weights(height, tile.height, plan.overlap, plan.tops, window=window, shift=drop)
        self._column_weights = axis_weights(width, tile.width, plan.overlap, plan.lefts, window=window)
        # A tile alone has nothing to be blended with, and weights of one: it is the band.
        self._band = np.zeros((channels, plan.tile.height, plan.canvas.width if len(plan) > 1 else 0), np.float32)
        self._waiting: dict[int, Array] = {}
        self._next = 0

    @property
    def complete(self) -> bool:
        return self._next == len(self._plan)

    def add(self, index: int, tile: Array) -> None:
        """Give tile `index` of the plan, each exactly once; the array is the canvas's from then on."""
        if index < self._next or index in self._waiting or index >= len(self._plan):
            raise ValueError(f"tile {index} was given before, or is not in the plan of {len(self._plan)}")
        self._waiting[index] = tile
        while self._next in self._waiting:
            self._add_next(self._waiting.pop(self._next))

    def _add_next(self, tile: Array) -> None:
        row, column = divmod(self._next, len(self._plan.lefts))
        left = self._plan.lefts[column]
        if len(self._plan) > 1:
            add_tile(self._band, tile, self._row_weights[row], self._column_weights[column], left)
        else:
            self._band = tile
        self._next += 1
        last = column == len(self._plan.lefts) - 1
        if self._boxes is not None:
            right = self._plan.canvas.width if last else self._plan.lefts[column + 1]
            box = Box(self._plan.tops[row], left, self._final(row), right - left)
            self._boxes(box, self._band[:, : box.height, box.columns])
        if last:
            self._hand_over(row)

    def _final(self, row: int) -> int:
        """How many rows of the band no tile below can touch."""
        tops = self._plan.tops
        return self._plan.tile.height if row == len(tops) - 1 else tops[row + 1] - tops[row]

    def _hand_over(self, row: int) -> None:
        """Rows above the next row of tiles are final; the rest of the band moves up."""
        count = self._final(row)
        if self._boxes is None:
            self._sink(self._plan.tops[row], self._band[:, :count])
        if row == len(self._plan.tops) - 1:
            return
        keep = self._band.shape[1] - count
        if keep:
            self._band[:, :keep] = self._band[:, count:].copy()
        self._band[:, keep:] = 0
