"""PNG bytes, read back by the codec."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError
from lqhq.runtime.image_file import read_image
from lqhq.runtime.synthesis.png_bytes import png_bytes


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (33, 47)])
@pytest.mark.parametrize("kind", ["noise", "ramp"])
def test_the_codec_reads_the_same_pixels(tmp_path, size, kind):
    shape = (*size, 3)
    ramp = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    pixels = ramp if kind == "ramp" else np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "x.png").write_bytes(png_bytes(pixels))
    read = read_image(tmp_path / "x.png")
    assert np.array_equal(read.pixels, pixels)
    assert (read.icc, read.exif, read.xmp, read.dpi) == (None,) * 4


def test_views_of_any_strides(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    flipped = pixels[::-1, ::2, ::-1]
    assert png_bytes(flipped) == png_bytes(np.ascontiguousarray(flipped))


def test_a_planted_flip_of_a_bit_is_seen(tmp_path):
    data = bytearray(png_bytes(np.zeros((4, 4, 3), np.uint8)))
    data[45] ^= 1
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ImageError):
        read_image(tmp_path / "x.png")
