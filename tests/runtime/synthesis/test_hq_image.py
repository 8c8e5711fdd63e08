"""HQ files as RGB of whole LQ pixels."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.runtime.synthesis.hq_image import read_hq


def written(tmp_path, pixels):
    write_image(tmp_path / "x.png", ImageFile(pixels=pixels))
    return tmp_path / "x.png"


def noise(*shape, dtype="uint8"):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def test_it_is_cut_at_the_bottom_and_the_right(tmp_path):
    pixels = noise(13, 18, 3)
    assert np.array_equal(read_hq(written(tmp_path, pixels), 4), pixels[:12, :16])
    assert np.array_equal(read_hq(written(tmp_path, pixels), 1), pixels)


def test_grey_is_repeated(tmp_path):
    pixels = noise(8, 8, 1)
    assert np.array_equal(read_hq(written(tmp_path, pixels), 4), pixels.repeat(3, 2))


def test_sixteen_bits_are_rounded(tmp_path):
    pixels = noise(8, 8, 3, dtype="uint16")
    pixels[0, 0] = (0, 65535, 128)
    read = read_hq(written(tmp_path, pixels), 1)
    assert np.array_equal(read, np.rint(pixels / 257).astype(np.uint8))
    assert read.dtype == np.uint8


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha(tmp_path, channels):
    pixels = noise(8, 8, channels)
    pixels[:, :, -1] = 255
    assert np.array_equal(read_hq(written(tmp_path, pixels), 4), np.broadcast_to(pixels[:, :, :-1], (8, 8, 3)))
    pixels[3, 3, -1] = 254
    with pytest.raises(ImageError, match="transparent"):
        read_hq(written(tmp_path, pixels), 4)


@pytest.mark.parametrize("shape", [(3, 9, 3), (9, 3, 3)])
def test_a_side_below_the_scale(tmp_path, shape):
    with pytest.raises(ImageError, match=f"found {shape[1]} x {shape[0]} pixels; expected sides of 4"):
        read_hq(written(tmp_path, noise(*shape)), 4)
