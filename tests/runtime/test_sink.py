"""The sink: rows and boxes become the same pixels, padding is cut, what is stored is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.sink import ImageSink

SIZE, CANVAS = Size(13, 22), Size(16, 24)
BOXES = [Box(top, left, 8, 8) for top in (0, 8) for left in (0, 8, 16)]


@pytest.fixture
def manifest(tiny_bundle: Any) -> Any:
    return open_bundle(tiny_bundle(), verified=None).manifest


def values() -> np.ndarray:
    return np.random.default_rng(3).uniform(-1.5, 1.5, (3, *CANVAS)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kept", [False, True])
def test_boxes_give_the_bytes_of_rows(manifest: Any, dtype: str, channels: int, kept: bool) -> None:
    rng = np.random.default_rng(4)
    own: dict[str, Any] = {"given": np.ones((*SIZE, channels), dtype), "hole": rng.random(SIZE) > 0.5} if kept else {}
    fields = {"channels": channels, "dtype": np.dtype(dtype), "manifest": manifest, **own}
    told: list[tuple[Box, np.ndarray]] = []
    rows, boxes = ImageSink(SIZE, **fields), ImageSink(SIZE, **fields, tiles=lambda *one: told.append(one))
    canvas = values()
    rows.rows(0, canvas[:, :9])
    rows.rows(9, canvas[:, 9:])
    assert (rows.boxes, boxes.boxes) == (None, boxes.box)
    for box in BOXES:
        boxes.box(box, canvas[:, box.rows, box.columns])
    assert boxes.image.tobytes() == rows.image.tobytes()
    again = np.zeros_like(rows.image)
    for box, pixels in told:
        assert not pixels.flags.writeable
        again[box.rows, box.columns] = pixels
    assert np.array_equal(again, rows.image)
    again[BOXES[0].rows, BOXES[0].columns] = told[1][1]  # the planted fault: one box in the place of another
    assert not np.array_equal(again, rows.image)


def test_what_is_all_padding_is_not_told(manifest: Any) -> None:
    told: list[Box] = []
    sink = ImageSink(
        SIZE, channels=3, dtype=np.dtype("uint8"), manifest=manifest, tiles=lambda box, pixels: told.append(box)
    )
    for box in (Box(8, 16, 8, 8), Box(16, 0, 8, 8), Box(0, 24, 8, 8)):
        sink.box(box, np.zeros((3, 8, 8), np.float32))
    assert told == [Box(8, 16, 5, 6)]


def test_a_nan_is_an_error(manifest: Any) -> None:
    sink = ImageSink(SIZE, channels=3, dtype=np.dtype("uint8"), manifest=manifest)
    with pytest.raises(EngineError, match="NaN or infinity"):
        sink.box(BOXES[0], np.full((3, 8, 8), np.nan, np.float32))
