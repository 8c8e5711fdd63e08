"""Alpha kept apart: what is hidden has no say, what is visible is not touched, no dark fringe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.runtime.alpha import bleed, constant_value, join_alpha, split_alpha
from lqhq.runtime.errors import ImageError
from lqhq.runtime.geometry import Box
from lqhq.runtime.resize import enlarge

SEED = 20260703
RED = (220, 10, 30)


def disc():
    """A red disc with a smooth edge on transparent black, straight alpha."""
    y, x = np.mgrid[:40, :44]
    alpha = np.clip((12.5 - np.hypot(y - 20, x - 21)) * 255, 0, 255).astype(np.uint8)[:, :, None]
    return np.where(alpha > 0, np.uint8(RED), np.uint8(0)), alpha


def darkest_visible_red(colour, alpha):
    box = Box(0, 0, 160, 176)
    seen = enlarge(alpha, 4, "bicubic", box)[:, :, 0] >= 1
    return enlarge(colour, 4, "bicubic", box)[seen][:, 0].min()


def test_a_red_disc_has_no_dark_ring():
    colour, alpha = disc()
    assert darkest_visible_red(bleed(colour, alpha), alpha) > RED[0] - 0.01
    assert darkest_visible_red(colour, alpha) < RED[0] / 2  # the fault that bleed mends


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_only_hidden_pixels_change_and_what_they_hid_has_no_say(dtype, channels):
    rng = np.random.default_rng(SEED)
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    colour = (rng.random((37, 53, channels)) * top).astype(dtype)
    alpha = (rng.random((37, 53, 1)) * top).astype(dtype)
    alpha[5:30, 10:50] = 0
    hidden = alpha[:, :, 0] == 0
    result = bleed(colour, alpha)
    assert result.dtype == dtype
    assert np.array_equal(result[~hidden], colour[~hidden])
    other = colour.copy()
    other[hidden] = 0
    assert np.array_equal(bleed(other, alpha), result)


@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_new_colours_lie_between_visible_ones(height, width, seed):
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    alpha = (rng.integers(0, 256, (height, width, 1)) * (rng.random((height, width, 1)) < 0.1)).astype(np.uint8)
    visible = colour[alpha[:, :, 0] > 0]
    result = bleed(colour, alpha)
    if len(visible):
        assert (result >= visible.min(0)).all()
        assert (result <= visible.max(0)).all()
    else:
        assert not result.any()


def test_near_colours_win_over_far_ones():
    colour, alpha = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 1), np.uint8)
    colour[:, :8], colour[:, -8:] = (200, 0, 0), (0, 0, 200)
    alpha[:, :8] = alpha[:, -8:] = 255
    result = bleed(colour, alpha)
    assert (np.abs(result[:, 8].astype(int) - (200, 0, 0)) <= 10).all()
    assert (np.abs(result[:, -9].astype(int) - (0, 0, 200)) <= 10).all()
    steps = np.abs(np.diff(result[:, 8:-8].astype(int), axis=1))
    assert steps.max() <= 30  # a ramp between them, no hard edge for the network to sharpen


def test_barely_visible_pixels_count_little():
    colour, alpha = np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8, 1), np.uint8)
    colour[2, 2], alpha[2, 2] = 200, 255
    colour[3, 3], alpha[3, 3] = 0, 1
    assert bleed(colour, alpha)[2, 3, 0] >= 190


def test_an_opaque_image_is_copied_as_it_is():
    colour, _ = disc()
    result = bleed(colour, np.full((40, 44, 1), 1, np.uint8))
    assert np.array_equal(result, colour)
    assert not np.shares_memory(result, colour)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_split_and_join_are_inverse(channels):
    image = np.random.default_rng(SEED).integers(0, 65536, (5, 6, channels)).astype(np.uint16)
    colour, alpha = split_alpha(image)
    assert colour.shape[2] in (1, 3)
    assert (alpha is None) == (channels in (1, 3))
    assert np.array_equal(image, colour if alpha is None else join_alpha(colour, alpha))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 5), (4, 4, 0)])
def test_other_channels_are_refused(shape):
    with pytest.raises(ImageError, match="1 to 4 channels"):
        split_alpha(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "alpha", [np.zeros((4, 5, 1), np.uint8), np.zeros((4, 4, 1), np.uint16), np.zeros((4, 4, 3), np.uint8)]
)
def test_unequal_parts_are_not_joined(alpha):
    with pytest.raises(ImageError, match="one size, one dtype"):
        join_alpha(np.zeros((4, 4, 3), np.uint8), alpha)


def test_a_constant_is_reported():
    alpha = np.full((4, 4, 1), 77, np.uint8)
    assert constant_value(alpha) == 77
    alpha[3, 3] = 78
    assert constant_value(alpha) is None
