"""What came is looked at before anything is decoded, and bounded whatever it claims."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError, LimitError
from lqhq.runtime.geometry import Size
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import encode_image
from lqhq.server.restoring.pictures import check_mask, picture_bytes, picture_form, read_hole, read_picture

PIXELS = np.random.default_rng(2).integers(0, 256, (10, 12, 3), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    return encode_image("PNG", ImageFile(pixels=pixels))


def test_a_file_and_its_array_have_one_form():
    assert picture_form(png(PIXELS), 120) == picture_form(PIXELS, 120) == (10, 12, 3, np.dtype(np.uint8))
    pixels, file = read_picture(png(PIXELS), 120)
    np.testing.assert_array_equal(pixels, PIXELS)
    assert file is not None
    assert read_picture(PIXELS, 120) == (PIXELS, None)


@pytest.mark.parametrize("picture", [PIXELS, png(PIXELS)])
def test_pixels_are_bounded_by_the_header(picture):
    with pytest.raises(LimitError, match="at most 119 pixels"):
        picture_form(picture, 119)


@pytest.mark.parametrize("shape", [(), (4,), (4, 4), (4, 4, 5), (0, 4, 3), (4, 4, 0), (4, 4, 3, 1)])
def test_arrays_that_are_no_images(shape):
    with pytest.raises(ImageError, match="image"):
        picture_form(np.zeros(shape, np.uint8), 1000)


def test_not_all_values_of_an_array_are_looked_at_before_there_is_room():
    wild = np.zeros((4, 4, 3), np.float32)
    wild[3, 3] = np.nan
    assert picture_form(wild, 1000).dtype == np.float32  # `Planner.restoration` refuses it, see `test_restoring`


@pytest.mark.parametrize("shape", [(10, 12), (10, 12, 1)])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float32])
def test_masks_as_arrays(shape, dtype):
    mask = np.zeros(shape, dtype)
    assert check_mask(mask, Size(10, 12), 1000) == mask.nbytes + 120
    assert read_hole(mask, Size(10, 12), 1000) is mask


@pytest.mark.parametrize("shape", [(), (120,), (12, 10), (10, 12, 3), (10, 12, 1, 1)])
def test_masks_of_other_shapes(shape):
    with pytest.raises(ImageError, match="mask"):
        check_mask(np.zeros(shape, np.uint8), Size(10, 12), 1000)


def test_masks_as_files():
    data = png(PIXELS)
    assert check_mask(data, Size(10, 12), 120) == len(data) + 360 + 120
    hole = read_hole(data, Size(10, 12), 120)
    np.testing.assert_array_equal(hole, PIXELS.any(axis=2))
    for mask in (data, np.zeros((10, 12), np.uint8)):
        with pytest.raises(LimitError, match="mask"):
            check_mask(mask, Size(10, 12), 119)


def test_bytes():
    assert picture_bytes(PIXELS) == 360
    assert picture_bytes(b"1234") == 4
