"""Which type and file a result has."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError, LimitError
from lqhq.runtime.image_file import ImageFile, read_image_bytes
from lqhq.runtime.image_form import ImageForm
from lqhq.server.restoring.deliveries import check_delivery, delivered, form_told, result_dtype, worked_dtype
from lqhq.server.v2.options import Delivery

U8, U16, F32 = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)


@pytest.mark.parametrize(
    ("given", "form", "depth", "result", "worked"),
    [
        (U8, "tensor", None, U8, U8),
        (F32, "tensor", None, F32, F32),
        (F32, "tensor", 8, U8, F32),
        (F32, "png", None, U16, F32),
        (F32, "jpeg", None, U8, F32),
        (U16, "png", None, U16, U16),
        (U16, "jpeg", None, U16, U16),  # refused later, as files are
        (U16, "png", 8, U8, U16),
        (U8, "tiff", 16, U16, U16),  # sixteen bits of the network, not eight bits times 257
    ],
)
def test_types(given, form, depth, result, worked):
    delivery = Delivery(format=form, bit_depth=depth)
    assert result_dtype(given, delivery) == result
    assert worked_dtype(given, result) == worked


@pytest.mark.parametrize(
    ("form", "shape", "dtype", "error"),
    [
        ("jpeg", (8, 8, 4), U8, ImageError),
        ("jpeg", (8, 8, 3), U16, ImageError),
        ("webp", (8, 20000, 3), U8, LimitError),
        ("png", (8, 20000, 4), U16, None),
        ("tensor", (8, 8, 4), F32, None),
    ],
)
def test_what_no_file_holds_is_told_before_the_work(form, shape, dtype, error):
    delivery = Delivery(format=form)
    if error is None:
        check_delivery(delivery, ImageForm(*shape, dtype))
    else:
        with pytest.raises(error):
            check_delivery(delivery, ImageForm(*shape, dtype))


def test_a_file_keeps_what_came_with_the_image():
    pixels = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), np.uint16)
    came = ImageFile(pixels=np.zeros((1, 1, 3), np.uint8), icc=None, xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    data = delivered(pixels, U8, came, Delivery(format="png"))
    assert isinstance(data, bytes)
    found = read_image_bytes(data, name="image")
    assert found.xmp == came.xmp
    assert found.pixels.dtype == U8
    np.testing.assert_array_equal(found.pixels, np.rint(pixels / 257))


def test_pixels_stay_pixels():
    pixels = np.ones((2, 2, 1), np.float32)
    assert delivered(pixels, F32, None, Delivery(format="tensor")) is pixels
    assert form_told(ImageForm.of(pixels)) == (2, 2, 1, 32)
