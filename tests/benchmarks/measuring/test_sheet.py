"""The sheet shows the crop that matters, in the order given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from measuring.sheet import GAP, LABEL, ZOOM, liveliest_crop, write_sheet
from PIL import Image

SEED = 6


def test_the_liveliest_crop_is_where_detail_was_lost() -> None:
    smooth = np.full((64, 96, 3), 100, np.uint8)
    hr = smooth.copy()
    hr[32:48, 64:80] = np.random.default_rng(SEED).integers(0, 255, (16, 16, 3))
    rows, columns, amount = liveliest_crop(hr, smooth, 16)
    assert (rows, columns) == (slice(32, 48), slice(64, 80))
    assert amount > 20


def test_crops_stand_in_the_order_given(tmp_path: Path) -> None:
    side = 20
    crops = {name: np.full((side, side, 3), level, np.uint8) for name, level in (("a", 40), ("b", 90), ("c", 200))}
    write_sheet(tmp_path / "sheet.png", [crops, crops])
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    zoomed = side * ZOOM
    assert pixels.shape == (2 * (zoomed + GAP + LABEL) - GAP, 3 * (zoomed + GAP) - GAP, 3)
    for top in (LABEL, zoomed + GAP + 2 * LABEL):
        middle = pixels[top + zoomed // 2, zoomed // 2 :: zoomed + GAP, 0]
        assert middle.tolist() == [40, 90, 200]
    assert pixels[:LABEL].min() < 128  # there is a label
