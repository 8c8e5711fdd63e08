"""`--image` and `--mask`: pairs by their order, pixels as the comparison takes them."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError, OptionError
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.tools.cli.photo_flags import add_photo_flags, named_photos


def parsed(*argv: str | Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_photo_flags(parser, purpose="compared on")
    return parser.parse_args([str(word) for word in argv])


@pytest.fixture
def stored(tmp_path):
    """`stored(name, pixels)` writes a PNG and returns its path."""

    def write(name: str, pixels: np.ndarray) -> Path:
        write_image(tmp_path / name, ImageFile(pixels=pixels))
        return tmp_path / name

    return write


def pixels(channels: int, dtype: type = np.uint8) -> np.ndarray:
    most = np.iinfo(dtype).max
    return np.random.default_rng(channels).integers(0, most + 1, (5, 7, channels), dtype=dtype)


def test_none_are_none():
    assert named_photos(parsed()) == {}


def test_images_by_name_in_their_order(stored):
    first, second = pixels(3), pixels(3)[::-1].copy()
    photos = named_photos(parsed("--image", stored("b.png", first), "--image", stored("a.png", second)))
    assert list(photos) == ["b.png", "a.png"]
    assert np.array_equal(photos["b.png"].image, first)
    assert np.array_equal(photos["a.png"].image, second)
    assert photos["b.png"].mask is None


def test_a_mask_goes_with_the_image_of_its_place(stored):
    hole = np.zeros((5, 7, 1), np.uint8)
    hole[2, 3] = 1  # anything above zero is inside
    argv = ["--image", stored("a.png", pixels(3)), "--image", stored("b.png", pixels(3))]
    photos = named_photos(parsed(*argv, "--mask", stored("m.png", hole)))
    assert photos["a.png"].mask.dtype == np.uint8
    assert (photos["a.png"].mask == 255).sum() == 1
    assert photos["a.png"].mask[2, 3] == 255
    assert photos["b.png"].mask is None


def test_one_colour_of_a_mask_is_enough(stored):
    hole = np.zeros((5, 7, 3), np.uint8)
    hole[1, 1, 2] = 9
    argv = ["--image", stored("a.png", pixels(3)), "--mask", stored("m.png", hole)]
    assert named_photos(parsed(*argv))["a.png"].mask[1, 1] == 255


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_grey_is_repeated_and_alpha_left_out(stored, channels):
    given = pixels(channels)
    found = named_photos(parsed("--image", stored("a.png", given)))["a.png"].image
    assert (found.shape, found.dtype) == ((5, 7, 3), np.uint8)
    wanted = given[:, :, :3] if channels > 2 else np.repeat(given[:, :, :1], 3, axis=2)
    assert np.array_equal(found, wanted)
    assert found.flags.c_contiguous


def test_sixteen_bits_are_cut_to_eight(stored):
    given = pixels(3, np.uint16)
    found = named_photos(parsed("--image", stored("a.png", given)))["a.png"].image
    assert np.array_equal(found, (given // 256).astype(np.uint8))


def test_more_masks_than_images_are_refused(stored):
    mask = stored("m.png", pixels(1))
    with pytest.raises(OptionError, match="--mask: found 2 for 1 images; expected one for each --image"):
        named_photos(parsed("--image", stored("a.png", pixels(3)), "--mask", mask, "--mask", mask))
    with pytest.raises(OptionError, match="1 for 0 images"):
        named_photos(parsed("--mask", mask))


def test_a_file_that_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(ImageError):
        named_photos(parsed("--image", tmp_path / "a.png"))
    with pytest.raises(ImageError):
        named_photos(parsed("--image", tmp_path / "absent.png"))


def test_two_images_of_one_name_are_both_compared(stored, tmp_path):
    """In different folders; none may be lost without a word."""
    (tmp_path / "more").mkdir()
    first, second = stored("a.png", pixels(3)), stored("more/a.png", pixels(3)[::-1].copy())
    assert len(named_photos(parsed("--image", first, "--image", second))) == 2
