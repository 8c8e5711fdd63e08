"""Mask files: one for all or one for each, told before the work; and what is inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError, OptionError
from lqhq.runtime.file_plan import FilePair
from lqhq.runtime.image_file import SUFFIXES, ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.runtime.mask_files import plan_masks, read_mask


@pytest.fixture
def pairs(tmp_path: Path) -> list[FilePair]:
    names = ["a.jpg", "sub/b.png"]
    return [FilePair(tmp_path / "in" / name, tmp_path / "out" / name) for name in names]


def test_one_file_is_for_all(pairs, tmp_path):
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


def test_a_result_never_replaces_a_mask(pairs):
    with pytest.raises(OptionError, match="an output that is a mask"):
        plan_masks(pairs[:1], str(pairs[0].target), SUFFIXES)


@pytest.mark.parametrize(("channels", "kind"), [(1, np.uint8), (3, np.uint8), (4, np.uint8), (1, np.uint16)])
def test_what_is_not_black_is_the_hole(tmp_path, channels, kind):
    pixels = np.zeros((4, 6, channels), kind)
    pixels[1, 2, 0] = 1
    if channels == 4:
        pixels[..., 3] = 255
    write_image(tmp_path / "m.png", ImageFile(pixels=pixels))
    hole = read_mask(tmp_path / "m.png")
    assert hole.shape == (4, 6)
    assert np.argwhere(hole).tolist() == [[1, 2]]


def test_a_mask_with_transparent_parts_is_ambiguous(tmp_path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[:2, :, 3] = 255
    write_image(tmp_path / "m.png", ImageFile(pixels=pixels))
    with pytest.raises(ImageError, match="without an alpha channel"):
        read_mask(tmp_path / "m.png")
