"""Mask files: one for all or one for each, told before the work; and what is inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError, LimitError, OptionError
from lqhq.runtime.file_plan import FilePair
from lqhq.runtime.geometry import Size
from lqhq.runtime.image_file import SUFFIXES, ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.runtime.mask_files import plan_masks, read_mask, read_mask_bytes


@pytest.fixture
def pairs(tmp_path: Path) -> list[FilePair]:
    names = ["a.jpg", "sub/b.png"]
    return [FilePair(tmp_path / "in" / name, tmp_path / "out" / name, Path(name)) for name in names]


def test_one_file_is_for_all(pairs, tmp_path):
    (tmp_path / "m.png").touch()
    assert plan_masks(pairs, str(tmp_path / "m.png"), SUFFIXES) == {pair.source: tmp_path / "m.png" for pair in pairs}


def test_a_folder_has_one_for_each_by_name(pairs, tmp_path):
    folder = tmp_path / "masks"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.TIF", "b.png", "a.txt"):
        (folder / name).touch()
    found = plan_masks(pairs, str(folder), SUFFIXES)
    assert found == {pairs[0].source: folder / "a.png", pairs[1].source: folder / "sub" / "b.TIF"}


@pytest.mark.parametrize(("names", "message"), [((), "no files for .*a.jpg"), (("a.png", "a.webp"), "2 files for")])
def test_no_mask_or_two_are_refused(pairs, tmp_path, names, message):
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    with pytest.raises(OptionError, match=message):
        plan_masks(pairs[:1], str(folder), SUFFIXES)


def test_a_place_is_told_by_the_searched_folder_not_by_what_the_sources_share(tmp_path):
    """One photo in a subfolder: its mask lies in that subfolder, though a file of its name lies above, too."""
    folder = tmp_path / "masks"
    (folder / "a").mkdir(parents=True)
    for name in ("x.png", "a/x.png"):
        (folder / name).touch()
    pair = FilePair(tmp_path / "photos" / "a" / "x.png", tmp_path / "out" / "a" / "x.png", Path("a/x.png"))
    assert plan_masks([pair], str(folder), SUFFIXES) == {pair.source: folder / "a" / "x.png"}


@pytest.mark.parametrize(("name", "message"), [("", "not there"), ("no.png", "not there"), ("/dev/null", "no regular")])
def test_what_is_no_mask_is_told_before_any_image(pairs, name, message):
    with pytest.raises(OptionError, match=message):
        plan_masks(pairs, name, SUFFIXES)


def test_an_image_is_not_its_own_mask(pairs):
    pairs[0].source.parent.mkdir()
    pairs[0].source.touch()
    with pytest.raises(OptionError, match="the image itself"):
        plan_masks(pairs[:1], str(pairs[0].source), SUFFIXES)


def test_a_result_never_replaces_a_mask(pairs):
    pairs[0].target.parent.mkdir()
    pairs[0].target.touch()
    with pytest.raises(OptionError, match="an output that is a mask"):
        plan_masks(pairs[:1], str(pairs[0].target), SUFFIXES)


@pytest.mark.parametrize(("channels", "kind"), [(1, np.uint8), (3, np.uint8), (4, np.uint8), (1, np.uint16)])
def test_what_is_not_black_is_the_hole(tmp_path, channels, kind):
    pixels = np.zeros((4, 6, channels), kind)
    pixels[1, 2, 0] = 1
    if channels == 4:
        pixels[..., 3] = 255
    write_image(tmp_path / "m.png", ImageFile(pixels=pixels))
    hole = read_mask(tmp_path / "m.png", Size(4, 6))
    assert hole.shape == (4, 6)
    assert np.argwhere(hole).tolist() == [[1, 2]]


def test_a_mask_with_transparent_parts_is_ambiguous(tmp_path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[:2, :, 3] = 255
    write_image(tmp_path / "m.png", ImageFile(pixels=pixels))
    with pytest.raises(ImageError, match="without an alpha channel"):
        read_mask(tmp_path / "m.png", Size(4, 6))
    with pytest.raises(ImageError, match=r"m\.png: found a mask of 6x4; expected 4x6"):
        read_mask(tmp_path / "m.png", Size(6, 4))


def test_bytes_are_read_as_files_are(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1, 2, 1] = 1
    write_image(tmp_path / "m.png", ImageFile(pixels=pixels))
    data = (tmp_path / "m.png").read_bytes()
    hole = read_mask_bytes(data, Size(4, 6), name="mask")
    np.testing.assert_array_equal(hole, read_mask(tmp_path / "m.png", Size(4, 6)))
    assert hole.sum() == 1


def test_bytes_of_another_size_are_refused_by_their_header(tmp_path):
    pixels = np.random.default_rng(5).integers(0, 256, (40, 60, 1), np.uint8)
    write_image(tmp_path / "m.png", ImageFile(pixels=pixels))
    data = (tmp_path / "m.png").read_bytes()
    with pytest.raises(ImageError, match="mask: found a mask of 60x40"):
        read_mask_bytes(data[: len(data) // 2], Size(60, 40), name="mask")
    with pytest.raises(LimitError, match="at most 100 pixels"):
        read_mask_bytes(data, Size(40, 60), name="mask", max_pixels=100)
