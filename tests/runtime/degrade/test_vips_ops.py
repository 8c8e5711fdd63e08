"""Filtering against plain sums, and JPEG against what the standard's tables say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lqhq.runtime.degrade import vips_ops
from lqhq.runtime.degrade.vips_ops import convolve, through_jpeg

DRAW = np.random.default_rng(20261123)
# ITU-T T.81, Annex K.1, first row and column
LUMA_ROW, LUMA_COLUMN = [16, 11, 10, 16, 24, 40, 51, 61], [16, 12, 14, 14, 18, 24, 49, 72]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (17, 12)])
@pytest.mark.parametrize("window", [(1, 1), (3, 3), (7, 5), (21, 21)])
def test_filter_is_the_sum_it_says(shape, window):
    image, weights = DRAW.random((*shape, 3), np.float32), DRAW.random(window) - 0.3
    above, left = window[0] // 2, window[1] // 2
    padded = np.pad(image.astype(np.float64), ((above, above), (left, left), (0, 0)), "reflect")
    expected = np.zeros(image.shape)
    for y in range(window[0]):
        for x in range(window[1]):
            expected += weights[y, x] * padded[y : y + shape[0], x : x + shape[1]]
    found = convolve(image, weights)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, rtol=0, atol=2e-5)
    if min(shape) > 9 and window == (3, 3):
        assert not np.allclose(convolve(image, weights[::-1]), expected, atol=2e-2)  # planted: mirrored


def test_views_are_filtered_as_they_look():
    image = DRAW.random((30, 40, 3), np.float32)
    view = image[::2, ::-1]
    weights = DRAW.random((3, 5))
    assert np.array_equal(convolve(view, weights), convolve(np.ascontiguousarray(view), weights))


def test_dropping_negligible_weights_changes_nothing_to_see(monkeypatch):
    image, line = DRAW.random((40, 40, 3), np.float32), np.arange(21) - 10
    weights = np.exp(-0.5 * (line[:, None] ** 2 + line[None, :] ** 2) / 0.8**2)
    weights /= weights.sum()
    found = convolve(image, weights)
    monkeypatch.setattr(vips_ops, "NEGLIGIBLE", 0.0)
    assert abs(convolve(image, weights) - found).max() < 2e-7


def photo():
    """Smooth, with some texture and colours."""
    y, x = np.mgrid[0:61, 0:83]
    waves = np.stack((np.sin(x / 9) * np.cos(y / 7), np.sin(y / 5), np.cos((x + y) / 11)), axis=-1)
    return np.clip(128 + 80 * waves + DRAW.normal(0, 6, waves.shape), 0, 255).astype(np.uint8)


def test_error_falls_with_quality():
    image = photo()
    errors = [np.square(through_jpeg(image, quality) - image.astype(float)).mean() for quality in range(10, 100, 10)]
    assert (np.diff(errors) < 0).all()


def test_channels_keep_their_places():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:] = (220, 120, 30)
    for quality in (1, 50, 100):
        found = through_jpeg(image, quality)[8, 8].astype(int)
        assert found[0] > found[1] > found[2]
        assert not found[2] > found[0]
    assert abs(through_jpeg(image, 100).astype(int) - image).max() <= 2


@pytest.mark.parametrize(("quality", "percent"), [(50, 100), (30, 166), (80, 40)])
def test_file_has_the_standards_tables_and_halved_chroma(quality, percent, monkeypatch):
    seen = []
    load = vips_ops.pyvips.Image.jpegload_buffer
    monkeypatch.setattr(vips_ops.pyvips.Image, "jpegload_buffer", lambda data: seen.append(data) or load(data))
    through_jpeg(photo(), quality)
    with Image.open(io.BytesIO(seen[0])) as file:
        table = np.array(file.quantization[0]).reshape(8, 8)
        assert file.layer[0][1:3] == (2, 2)  # luma at twice the resolution along both axes
        assert file.layer[1][1:3] == (1, 1)
    assert table[0].tolist() == [(value * percent + 50) // 100 for value in LUMA_ROW]
    assert table[:, 0].tolist() == [(value * percent + 50) // 100 for value in LUMA_COLUMN]


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (9, 2)])
def test_small_and_odd_sizes(shape):
    assert through_jpeg(DRAW.integers(0, 256, (*shape, 3), np.uint8), 75).shape == (*shape, 3)
