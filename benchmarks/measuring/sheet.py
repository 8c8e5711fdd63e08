"""A sheet of crops side by side, labelled, for eyes: numbers alone do not say whether an image looks right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["liveliest_crop", "write_sheet"]

GAP, LABEL = 4, 14  # pixels
ZOOM = 2  # nearest neighbour: the pixels as they are, large enough to see

Pixels = NDArray[np.uint8]


def liveliest_crop(hr: Pixels, smooth: Pixels, side: int) -> tuple[slice, slice, float]:
    """The square where `hr` differs most from `smooth` (mean absolute, in levels), on a grid of half its side."""
    difference = np.abs(hr.astype(np.float32) - smooth).mean(2)
    best = (slice(0, side), slice(0, side), -1.0)
    for top in range(0, hr.shape[0] - side + 1, side // 2):
        for left in range(0, hr.shape[1] - side + 1, side // 2):
            rows, columns = slice(top, top + side), slice(left, left + side)
            amount = float(difference[rows, columns].mean())
            if amount > best[2]:
                best = (rows, columns, amount)
    return best


def write_sheet(path: Path, rows: Sequence[Mapping[str, Pixels]]) -> None:
    """One row of equally large crops for each mapping, its keys above it as labels; PNG."""
    side = len(next(iter(rows[0].values()))) * ZOOM
    count = max(map(len, rows))
    size = (count * (side + GAP) - GAP, len(rows) * (side + GAP + LABEL) - GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, crops in enumerate(rows):
        for column, (label, crop) in enumerate(crops.items()):
            left, top = column * (side + GAP), row * (side + GAP + LABEL)
            draw.text((left, top), label, fill="black")
            sheet.paste(Image.fromarray(crop).resize((side, side), Image.Resampling.NEAREST), (left, top + LABEL))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG")
