"""The images that half precision is judged on: which, how large, and what float32 makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.export import judged_images as subject
from lqhq.export.families import FAMILIES
from lqhq.export.goldens import synthetic_image
from lqhq.export.judged_images import default_images, judged_images, odd_images
from lqhq.export.load import load_model
from lqhq.export.reference import image_noise, reference_image
from lqhq.export.validate import SEED, Photo
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import ImageError, OptionError

PHOTO = Photo(np.random.default_rng(3).integers(0, 256, (24, 20, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def film(exported):
    """The recipe and the bundle's manifest."""
    folder = exported("film-half")
    return load_model(FAMILIES[0], folder.parent / "film-half-checkpoint").recipe, open_bundle(folder).manifest


def test_the_shipped_photos_are_the_default(film):
    recipe, _ = film
    assert list(default_images(recipe)) == ["cat.png", "rocket.png", "seeds.png"]
    assert all(photo.mask is None for photo in default_images(recipe).values())


def test_levels_are_those_of_float32_with_the_same_noise(film):
    recipe, manifest = film
    found = judged_images(recipe, manifest, {"photo.png": PHOTO})
    assert [one.name for one in found.photos] == ["photo.png 24x20"]
    assert {one.name.split()[0] for one in found.extremes} == {"black", "white", "saturated", "board"}
    for one in (*found.photos, *found.extremes, *odd_images(recipe)):
        noise = image_noise(recipe, one.schedule, one.photo.image, SEED)
        assert all(np.array_equal(one.noise[name], noise[name]) for name in noise)
        wanted = reference_image(recipe, one.photo.image, schedule=one.schedule, noise=noise).levels
        np.testing.assert_array_equal(one.levels, wanted)


def test_odd_sides_by_every_schedule(film):
    recipe, _ = film
    found = odd_images(recipe)
    assert {one.schedule for one in found} == set(recipe.schedules)
    assert any(one.photo.image.shape[0] % 2 and one.photo.image.shape[1] % 2 for one in found)


@pytest.mark.parametrize(("side", "error"), [(24, OptionError), (23, (OptionError, ImageError))])
def test_a_mask_that_nobody_takes_is_refused(film, side, error):
    photo = Photo(PHOTO.image, np.zeros((side, 20), np.uint8))
    with pytest.raises(error, match="mask"):
        judged_images(*film, {"a": photo})


def test_photos_are_cut_to_what_float32_itself_repeats(film, monkeypatch):
    """A network that enlarges rounding until nothing comes back tells nothing of half precision there."""
    recipe, manifest = film
    photos = {"a.png": Photo(synthetic_image(100, 120, 5))}
    (whole,) = judged_images(recipe, manifest, photos, side=64 * recipe.factor).photos
    assert (whole.name, whole.photo.image.shape) == ("a.png 64x64", (64, 64, 3))
    monkeypatch.setattr(subject, "REPEATED_DB", 1000.0)  # which no network does
    (cut,) = judged_images(recipe, manifest, photos, side=64 * recipe.factor).photos
    assert max(cut.photo.image.shape[:2]) * recipe.factor == subject.LEAST_SIDE
