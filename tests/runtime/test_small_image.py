"""Small images: enlarged to the side, and the result back to the promised size, in every dtype."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.geometry import Size
from lqhq.runtime.resample import resample
from lqhq.runtime.small_image import enlarged_small, shrunk, small_size

SEED = 20260803
FULL = {"uint8": 255, "uint16": 65535, "float32": 1}


def smooth(size, dtype, channels=3):
    """A gradient with a soft blob: nothing above what the smaller size can hold."""
    y, x = np.mgrid[: size[0], : size[1]]
    y, x = (y + 0.5) / size[0], (x + 0.5) / size[1]
    image = 0.2 + 0.3 * x + 0.3 * np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) * 8)
    scaled = np.repeat(image[:, :, None], channels, axis=2) * FULL[dtype]
    return (np.rint(scaled) if dtype != "float32" else scaled).astype(dtype)


@pytest.mark.parametrize("size", [Size(128, 128), Size(128, 300), Size(500, 129)])
def test_an_image_that_is_not_small_is_the_same_array(size):
    image = np.zeros((*size, 3), np.uint8)
    assert small_size(size, 128) == size
    assert enlarged_small(image, 128) is image
    assert shrunk(image, size) is image


def test_the_shorter_side_becomes_the_side_exactly():
    assert [min(small_size(Size(side, 3 * side), 128)) for side in range(1, 128)] == [128] * 127
    assert small_size(Size(49, 98), 128) == Size(128, 256)
    assert small_size(Size(300, 127), 128) == Size(302, 128)  # 302.36
    assert small_size(Size(3, 2), 1) == Size(3, 2)
    assert small_size(Size(2, 5), 3) == Size(3, 8)  # 7.5, half up


@pytest.mark.parametrize("dtype", FULL)
def test_there_and_back_keeps_smooth_images(dtype):
    image = smooth((40, 57), dtype)
    large = enlarged_small(image, 128)
    assert large.dtype == image.dtype
    assert large.shape == (128, 182, 3)
    back = shrunk(large, Size(40, 57))
    assert back.dtype == image.dtype
    error = np.abs(back.astype(np.float64) - image).max() / FULL[dtype]
    assert error < 0.006


def test_a_shift_by_a_pixel_would_be_noticed():
    """The planted fault of the test above."""
    image = smooth((40, 57), "float32")
    back = shrunk(np.roll(enlarged_small(image, 128), 3, axis=1), Size(40, 57))
    assert np.abs(back - image).max() > 0.02


@pytest.mark.parametrize("dtype", FULL)
def test_overshoot_is_clipped(dtype):
    edge = np.zeros((20, 20, 1), dtype)
    edge[:, 10:] = FULL[dtype]
    raw = resample(edge, Size(128, 128), "bicubic")
    assert raw.min() < -0.05 * FULL[dtype]
    large = enlarged_small(edge, 128)
    assert large.dtype == dtype
    assert large.min() == 0
    assert large.max() == FULL[dtype]
    assert large[0, 0, 0] == 0  # no wrap-around of integers beside the edge
    assert np.abs(large - raw.clip(0, FULL[dtype])).max() <= 0.5


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_are_rounded_not_cut_off(dtype):
    image = np.random.default_rng(SEED).integers(0, FULL[dtype], (50, 60, 3)).astype(dtype)
    exact = resample(image, Size(20, 24), "bicubic").clip(0, FULL[dtype])
    bias = (shrunk(image, Size(20, 24)) - exact).mean()
    assert abs(bias) < 0.05
    assert abs((np.floor(exact) - exact).mean()) > 0.4  # what cutting off would give


def test_results_come_back_at_exactly_the_size_asked_for():
    for height, width in ((4, 52), (97, 13), (111, 111)):
        result = np.zeros((*small_size(Size(height, width), 128).scaled(4), 1), np.uint16)
        assert shrunk(result, Size(height, width).scaled(4)).shape == (4 * height, 4 * width, 1)


def test_an_edge_overshoots_by_less_than_a_tenth():
    """Why bicubic shrinks: the comment in the code has the numbers."""
    over = {"bicubic": 0.0, "lanczos": 0.0}
    for at in range(200, 300, 3):
        edge = np.zeros((1, 512, 1), np.float32)
        edge[:, at:] = 1
        for filter in over:
            over[filter] = max(over[filter], float(resample(edge, Size(1, 400), filter).max() - 1))
    assert over["bicubic"] < 0.07 < 0.09 < over["lanczos"]
