"""Steps on pixels: sizes, what each keeps, and the limits."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.degrade import apply
from lqhq.runtime.degrade import steps as s
from lqhq.runtime.degrade.apply import MAX_PIXELS, MAX_SIDE, apply_steps, check_size
from lqhq.runtime.errors import LimitError
from lqhq.runtime.geometry import Size

KEY = bytes(32)
STEPS = (
    s.Sharpen(weight=0.5, size=51, threshold=10.0),
    s.Blur(kind="plateau_aniso", size=21, sigma=(3.0, 0.2), angle=1.0, beta=2.0),
    s.Sinc(size=21, cutoff=0.3),
    s.Resize(mode="area", factor=0.5, of="image"),
    s.Subsample(sigma=1.0, size=25, factor=2),
    s.Jpeg(quality=90),
)


def photo(height=40, width=56):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack((x * 4, y * 5, 200 - x - y), axis=-1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (30, 120, 220)])
def test_flat_images_stay_flat_and_channels_in_place(step, colour):
    image = np.full((33, 35, 3), colour, np.uint8)
    found = apply_steps(image, (step,), lq=Size(8, 8), key=KEY)
    assert abs(found.astype(int) - colour).max() <= (2 if isinstance(step, s.Jpeg) else 0)


def test_nothing_to_do():
    assert np.array_equal(apply_steps(photo(), (), lq=Size(1, 1), key=KEY), photo())


def test_sizes_are_rounded_down():
    for factor, of, expected in (
        (0.5, "image", (20, 27)),
        (1.0, "lq", (9, 13)),
        (1.1, "lq", (9, 14)),
        (0.04, "lq", (1, 1)),
    ):
        step = s.Resize(mode="bilinear", factor=factor, of=of)
        assert apply_steps(photo(41, 55), (step,), lq=Size(9, 13), key=KEY).shape == (*expected, 3)
    subsample = s.Subsample(sigma=1.0, size=25, factor=4)
    assert apply_steps(photo(41, 55), (subsample,), lq=Size(9, 13), key=KEY).shape == (11, 14, 3)


def test_subsampling_agrees_with_cell_means_in_place():
    """A ramp shows a shift: the mean of each cell of a linear image is its value in the middle."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (np.arange(64) * 4)[None, :, None]
    found = apply_steps(image, (s.Subsample(sigma=1.0, size=25, factor=4),), lq=Size(16, 16), key=KEY)
    middle = slice(3, 13)  # away from the borders, where the filter sees the reflection
    assert found[8, middle, 0].tolist() == [16 * i + 6 for i in range(16)][middle]


def test_sharpening_steepens_edges_and_leaves_the_rest():
    image = np.full((80, 120, 3), 90, np.uint8)
    image[:, 60:] = 150
    found = apply_steps(image, (STEPS[0],), lq=Size(1, 1), key=KEY)
    assert found[40, 58, 0] < 90 < 150 < found[40, 61, 0]
    assert (found[:, :10] == 90).all()
    faint = np.where(image == 90, 100, 108).astype(np.uint8)
    assert np.array_equal(apply_steps(faint, (STEPS[0],), lq=Size(1, 1), key=KEY), faint)  # below the threshold


def test_places_in_the_row_have_noise_of_their_own():
    step = s.GaussianNoise(sigma=10.0, gray=False)
    image = np.full((64, 64, 3), 128, np.uint8)
    once = apply_steps(image, (step,), lq=Size(1, 1), key=KEY).astype(float) - 128
    twice = apply_steps(image, (step, step), lq=Size(1, 1), key=KEY).astype(float) - 128
    assert abs(twice.var() / once.var() - 2) < 0.1  # the same noise again would give 4


def test_limits(monkeypatch):
    check_size(Size(1, MAX_SIDE))
    for size in (Size(MAX_SIDE + 1, 1), Size(1 << 14, (1 << 13) + 1)):
        with pytest.raises(LimitError, match="at one of its stages"):
            check_size(size)
    assert MAX_PIXELS == 1 << 27
    monkeypatch.setattr(apply, "MAX_PIXELS", 40 * 56 * 2)
    with pytest.raises(LimitError, match="84 x 60"):
        apply_steps(photo(), (s.Resize(mode="area", factor=1.5, of="image"),), lq=Size(1, 1), key=KEY)
