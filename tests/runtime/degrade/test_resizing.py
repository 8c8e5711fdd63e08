"""Resizing against torch's `interpolate`, and what every mode keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lqhq.runtime.degrade.resizing import resize
from lqhq.runtime.geometry import Size

SHAPES = [
    ((37, 52), (19, 61)),
    ((37, 52), (37, 8)),
    ((5, 3), (5, 3)),
    ((1, 1), (4, 7)),
    ((9, 200), (1, 1)),
    ((2, 3), (31, 2)),
]


def image(height, width):
    return np.random.default_rng(20261122).random((height, width, 3), np.float32)


@pytest.mark.parametrize(("source", "target"), SHAPES)
@pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic"])
def test_equal_to_torch(source, target, mode):
    hq = image(*source)
    options = {} if mode == "area" else {"align_corners": False}
    nchw = torch.from_numpy(hq).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(nchw, size=target, mode=mode, **options)[0].permute(1, 2, 0).numpy()
    found = resize(hq, Size(*target), mode)
    assert found.dtype == np.float32
    assert found.shape == (*target, 3)
    assert abs(found - expected).max() < 2e-6


def test_planted_antialiasing_is_seen():
    hq = image(64, 64)
    assert abs(resize(hq, Size(16, 16), "bicubic") - resize(hq, Size(16, 16), "antialiased")).max() > 0.1


@pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic", "antialiased"])
def test_flat_images_stay_flat(mode):
    flat = np.full((23, 31, 3), (0.25, 0.5, 0.75), np.float32)
    assert abs(resize(flat, Size(40, 7), mode) - flat[0, 0]).max() < 1e-6


def test_area_keeps_the_mean_at_whole_factors():
    hq = image(48, 36)
    assert np.allclose(resize(hq, Size(12, 9), "area").mean(axis=(0, 1)), hq.mean(axis=(0, 1)), atol=1e-6)
