"""Pixels to tensors and back."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.kernels.pack_pixels import FULL_SCALE, pixels_from_tensor, tensor_from_pixels

RANGES = [(-1.0, 1.0), (0.0, 1.0)]


def every_level(name: str, channels: int) -> np.ndarray:
    levels = np.arange(int(FULL_SCALE[name]) + 1)
    image = np.stack([np.roll(levels, 7 * shift) for shift in range(channels)], axis=-1)
    return image.reshape(16, -1, channels).astype(name)


@pytest.mark.parametrize("name", ["uint8", "uint16"])
@pytest.mark.parametrize("value_range", RANGES)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_level_survives_the_round_trip(name, value_range, order, channels):
    image = every_level(name, channels)
    tensor = tensor_from_pixels(image, full_scale=FULL_SCALE[name], value_range=value_range, order=order)
    back = pixels_from_tensor(
        tensor, channels=channels, dtype=image.dtype, value_range=value_range, order=order, mode="round"
    )
    assert np.array_equal(back, image)


def test_the_ends_of_the_range_and_the_order_are_right():
    image = np.array([[[255, 0, 51]]], np.uint8)
    rgb = tensor_from_pixels(image, full_scale=255.0, value_range=(-1.0, 1.0), order="rgb")
    bgr = tensor_from_pixels(image, full_scale=255.0, value_range=(-1.0, 1.0), order="bgr")
    assert rgb[:, 0, 0] == pytest.approx([1, -1, -0.6])
    assert bgr[:, 0, 0] == pytest.approx([-0.6, -1, 1])  # a swapped channel turns this red


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [("round", 0.5, 0), ("round", 1.5, 2), ("truncate", 1.99, 1), ("round", -3.0, 0), ("round", 300.0, 255)],
)
def test_rounding_truncation_and_clamping(mode, value, expected):
    tensor = np.full((3, 1, 1), value / 255, np.float32)
    pixels = pixels_from_tensor(
        tensor, channels=3, dtype=np.dtype("uint8"), value_range=(0.0, 1.0), order="rgb", mode=mode
    )
    assert pixels.tolist() == [[[expected] * 3]]


def test_grey_is_the_mean_of_the_channels():
    tensor = np.array([0.0, 0.5, 1.0], np.float32)[:, None, None]
    pixels = pixels_from_tensor(
        tensor, channels=1, dtype=np.dtype("float32"), value_range=(0.0, 1.0), order="rgb", mode="round"
    )
    assert pixels.tolist() == [[[0.5]]]


def test_a_nan_is_an_error_not_a_dark_pixel():
    tensor = np.zeros((3, 2, 2), np.float32)
    tensor[1, 1, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        pixels_from_tensor(
            tensor, channels=3, dtype=np.dtype("uint8"), value_range=(0.0, 1.0), order="rgb", mode="round"
        )
