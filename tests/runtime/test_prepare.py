"""The lazy canvas: any box has the bits of the whole, padding mirrors, values follow range and order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.manifest import MaskOut, Pad, Pixels
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.resize import enlarge


def prepared(make: Callable[..., Path], image: np.ndarray, **fields: object) -> PreparedImage:
    return PreparedImage(image, open_bundle(make(**fields)).manifest)


def picture(height: int, width: int, channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    high = 1 if dtype == "float32" else np.iinfo(dtype).max
    values = np.random.default_rng(height).random((height, width, channels)) * high
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_scale_one_is_the_image_in_the_networks_range(tiny_bundle, dtype):
    image = picture(8, 12, dtype=dtype)
    source = prepared(tiny_bundle, image)
    high = 1 if dtype == "float32" else np.iinfo(dtype).max
    assert (source.size, source.canvas) == (Size(8, 12), Size(8, 12))
    expected = (image / high * 2 - 1).transpose(2, 0, 1)
    assert source.read(Box(0, 0, 8, 12)) == pytest.approx(expected, abs=1e-6)


def test_the_image_is_enlarged_and_mirrored_into_the_padding(tiny_bundle):
    image = picture(3, 5)
    source = prepared(tiny_bundle, image, scale=4)
    assert (source.size, source.canvas) == (Size(12, 20), Size(12, 20))
    whole = enlarge(image, 4, "bicubic", Box(0, 0, 12, 20)) / 127.5 - 1
    assert source.read(Box(0, 0, 12, 20)) == pytest.approx(whole.transpose(2, 0, 1), abs=1e-5)


@pytest.mark.parametrize(("mode", "numpy_mode"), [("reflect", "reflect"), ("edge", "edge"), ("symmetric", "symmetric")])
def test_padding_is_numpys(tiny_bundle, mode, numpy_mode):
    image = picture(5, 7)
    pad = Pad(mode=mode, multiple=4, smallest=16)
    source = prepared(tiny_bundle, image, prepare=(pad,))
    assert source.canvas == Size(16, 16)
    whole = np.pad(image / 127.5 - 1, ((0, 11), (0, 9), (0, 0)), mode=numpy_mode)
    assert source.read(Box(0, 0, 16, 16)) == pytest.approx(whole.transpose(2, 0, 1), abs=1e-6)


def test_a_single_pixel_can_be_padded(tiny_bundle):
    source = prepared(tiny_bundle, picture(1, 1))
    assert np.ptp(source.read(Box(0, 0, 8, 8)), axis=(1, 2)).tolist() == [0, 0, 0]


@pytest.fixture
def padded(tiny_bundle: Callable[..., Path]) -> PreparedImage:
    """7 x 11 pixels, enlarged to 28 x 44, padded to 32 x 44."""
    manifest = open_bundle(tiny_bundle(scale=4)).manifest
    pad = Pad(mode="reflect", multiple=4, smallest=32)
    return PreparedImage(picture(7, 11), msgspec.structs.replace(manifest, prepare=(manifest.prepare[0], pad)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 31), st.integers(0, 43), st.data())
def test_any_box_has_the_bits_of_the_whole(padded, top, left, data):
    source = padded
    box = Box(top, left, data.draw(st.integers(1, 32 - top)), data.draw(st.integers(1, 44 - left)))
    whole = source.read(Box(0, 0, 32, 44))
    assert source.read(box).tobytes() == np.ascontiguousarray(whole[:, box.rows, box.columns]).tobytes()


def test_order_and_range_of_the_manifest_hold(tiny_bundle):
    image = picture(8, 8)
    rgb = prepared(tiny_bundle, image, folder="a").read(Box(0, 0, 8, 8))
    pixels = Pixels(range=(0.0, 1.0), order="bgr")
    bgr = prepared(tiny_bundle, image, folder="b", pixels=pixels).read(Box(0, 0, 8, 8))
    assert bgr[::-1] * 2 - 1 == pytest.approx(rgb, abs=1e-6)
    assert np.abs(bgr * 2 - 1 - rgb).max() > 0.1  # the planted fault: channels not swapped


def test_grey_is_repeated(tiny_bundle):
    tensor = prepared(tiny_bundle, picture(8, 8, 1)).read(Box(0, 0, 8, 8))
    assert tensor.shape == (3, 8, 8)
    assert np.array_equal(tensor[0], tensor[2])


@pytest.mark.parametrize("mode", ["symmetric", "reflect"])
def test_the_hole_is_zero_and_a_channel_of_its_own(guided_bundle, mode):
    image, hole = picture(5, 7), np.random.default_rng(1).random((5, 7)) > 0.6
    pad = Pad(mode=mode, multiple=4, smallest=12)
    manifest = open_bundle(guided_bundle(masked=True, prepare=(MaskOut(), pad))).manifest
    source = PreparedImage(image, manifest, hole)
    stacked = np.dstack([np.where(hole[:, :, None], 0, image / 255), hole])
    whole = np.pad(stacked, ((0, 7), (0, 5), (0, 0)), mode=mode).transpose(2, 0, 1)
    assert source.read(Box(0, 0, 12, 12)) == pytest.approx(whole, abs=1e-6)
    assert source.read(Box(4, 4, 4, 8)) == pytest.approx(whole[:, 4:8, 4:12], abs=1e-6)
    assert source.read(Box(0, 0, 4, 4)).dtype == np.float32


@pytest.mark.parametrize("masked", [True, False])
def test_a_hole_is_given_where_it_is_asked_for_and_only_there(guided_bundle, masked):
    hole = None if masked else np.zeros((5, 7), bool)
    with pytest.raises(ValueError, match="a hole is"):
        PreparedImage(picture(5, 7), open_bundle(guided_bundle(masked=masked)).manifest, hole)
