"""What half precision is checked on when nobody gives a photo."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from lqhq.export.default_photos import FOLDER, default_photos, extreme_images

ROOT = Path(__file__).parents[2]


def test_the_photos_are_three_different_real_ones():
    photos = default_photos()
    assert list(photos) == ["cat.png", "rocket.png", "seeds.png"]
    for photo in photos.values():
        assert (photo.shape, photo.dtype) == ((128, 128, 3), np.uint8)
        # No noise and no drawing: neighbours are alike, and there are many levels.
        assert np.abs(np.diff(photo.astype(int), axis=1)).mean() < 0.5 * photo.std()
        assert len(np.unique(photo)) > 50
    assert min(photo.min() for photo in photos.values()) < 16
    assert max(photo.max() for photo in photos.values()) > 240


def test_the_licence_names_every_photo():
    licence = (FOLDER / "LICENCE.md").read_text()
    assert all(name in licence for name in default_photos())


def test_the_photos_are_part_of_the_installed_package():
    """Without them, an installed lqhq would check half precision on no photo at all, and say nothing."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["lqhq.export"]
    for name in default_photos():
        assert any(fnmatch(f"photos/{name}", pattern) for pattern in patterns)


@pytest.mark.parametrize("size", [(8, 8), (19, 33)])
def test_the_extremes(size):
    found = extreme_images(*size)
    assert list(found) == ["black", "white", "saturated", "board"]
    for image in found.values():
        assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
        assert set(np.unique(image)) <= {0, 255}
    assert found["black"].max() == 0
    assert found["white"].min() == 255
    assert (np.diff(found["board"].astype(int), axis=0) != 0).all()
    assert (np.diff(found["board"].astype(int), axis=1) != 0).all()
    colours = {tuple(pixel) for pixel in found["saturated"].reshape(-1, 3).tolist()}
    assert len(colours - {(0, 0, 0), (255, 255, 255)}) >= 3
