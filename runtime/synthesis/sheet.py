"""A contact sheet: HQ, degraded, and synthesised at several strengths, one row of cells for each image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.synthesis.hq_image import read_hq
from lqhq.runtime.synthesis.pair import Maker
from lqhq.runtime.synthesis.pair_key import file_digest, noise_seed, pair_key
from lqhq.runtime.synthesis.sources import Source
from lqhq.runtime.synthesis.strength import steps_of

__all__ = ["preview_steps", "sheet", "sheet_row"]

Rgb = NDArray[np.uint8]

STRENGTHS = 4  # from the lowest to the highest, in equal parts
CELL = 384  # pixels of HQ at most: six cells of it fit a screen, and a face or a sign fits a cell
GAP = 4
WHITE = 255


def preview_steps(maker: Maker) -> tuple[int, ...]:
    """How many steps the synthesised cells take, in rising order, each once."""
    strengths, nominal = maker.settings.strengths, maker.nominal
    return tuple(sorted({steps_of(strengths.at(part / (STRENGTHS - 1)), nominal) for part in range(STRENGTHS)}))


def sheet_row(maker: Maker, source: Source) -> list[Rgb]:
    """The cells of an image, all `[H, W, 3]` uint8: HQ, degraded, then one for each of `preview_steps`.

    The image is its middle, at most `CELL` pixels a side, which is degraded by what pair 0 of the file draws. LQ pixels
    are shown as squares. Raises as `read_hq`, `degrade` and `Restorer.restore` do.
    """
    scale = maker.settings.scale
    hq = _middle(read_hq(source.path, scale), scale)
    key = pair_key(maker.settings.seed, file_digest(source.path), 0)
    degraded = maker.degraded(hq, key).pixels
    made = [maker.restored(degraded, steps, noise_seed(key)) for steps in preview_steps(maker)]
    return [hq, *(lq.repeat(scale, 0).repeat(scale, 1) for lq in (degraded, *made))]


def sheet(rows: Sequence[Sequence[Rgb]]) -> Rgb:
    """The cells `[H, W, 3]` side by side and row below row, apart from each other by white."""
    height = GAP + sum(row[0].shape[0] + GAP for row in rows)
    width = GAP + max(sum(cell.shape[1] + GAP for cell in row) for row in rows)
    page = np.full((height, width, 3), WHITE, np.uint8)
    top = GAP
    for row in rows:
        left = GAP
        for cell in row:
            page[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
            left += cell.shape[1] + GAP
        top += row[0].shape[0] + GAP
    return page


def _middle(image: Rgb, scale: int) -> Rgb:
    """The middle of `image`, its sides multiples of `scale`."""
    most = max(CELL // scale, 1) * scale
    height, width = (min(length, most) for length in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])
