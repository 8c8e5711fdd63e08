"""The test image is the same every time, has contrast at all scales, and is not the same for another seed."""

from __future__ import annotations

import numpy as np
from measuring.scene import scene


def test_scene_is_repeatable_and_lively() -> None:
    image = scene(64, 96)
    assert image.shape == (64, 96, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, scene(64, 96))
    assert not np.array_equal(image, scene(64, 96, seed=1))
    assert image.std() > 15
    assert np.abs(np.diff(image.astype(int), axis=1)).max() > 30
