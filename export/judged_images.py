"""What half precision is judged on: images with what float32 makes of them, which takes minutes for a large model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lqhq.export.default_photos import default_photos, extreme_images
from lqhq.export.family import Arrays, Recipe
from lqhq.export.goldens import synthetic_image, synthetic_mask
from lqhq.export.reference import Finished, image_noise, reference_image
from lqhq.export.sensitivity import JITTER
from lqhq.export.validate import SEED, WHOLE, Photo, centre, check_photos, sizes
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.parity import measure
from lqhq.runtime.restorer import Restorer

__all__ = ["PHOTO_SIDE", "Exact", "JudgedImages", "default_images", "judged_images", "odd_images", "restored"]

PHOTO_SIDE = 256  # of a photo, in network pixels
LEAST_SIDE = 32  # that a photo is cut to
REPEATED_DB = 80.0  # two runs in float32 must come as near, or a photo tells nothing of half precision
EXTREME = (24, 32)  # sides of extreme images, in network pixels beyond the smallest


@dataclass(frozen=True, slots=True)
class Exact:
    """An image by name and schedule; the noise that all runs of it take, and its levels in float32 `[H', W', 3]`."""

    name: str
    photo: Photo
    schedule: str | None
    noise: Arrays
    levels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class JudgedImages:
    """Parts of photos, and images at the edges of what there is."""

    photos: tuple[Exact, ...]
    extremes: tuple[Exact, ...]


def judged_images(
    recipe: Recipe, manifest: Manifest, photos: Mapping[str, Photo] | None = None, *, side: int = PHOTO_SIDE
) -> JudgedImages:
    """The middle of each photo, of at most `side` network pixels, by its name and size; the shipped ones without any.

    Samplers of several steps may enlarge errors, and more so on larger images: there two runs in float32 differ as much
    as half precision could. So a cutting is halved while float32, moved by a rounding, does not come back to itself.
    Raises `OptionError` for a mask that is missing or not taken, `ImageError` for one of another size.
    """
    check_photos(photos or {}, manifest)
    height, width = (-(-(recipe.tiles.smallest + extra) // recipe.factor) for extra in EXTREME)
    mask = synthetic_mask(height, width) if recipe.masked else None
    return JudgedImages(
        photos=tuple(_fair(recipe, *named, side) for named in (photos or default_images(recipe)).items()),
        extremes=tuple(
            _exact(recipe, f"{name} {height}x{width}", Photo(image, mask), recipe.default_schedule)
            for name, image in extreme_images(height, width).items()
        ),
    )


def odd_images(recipe: Recipe) -> list[Exact]:
    """Synthetic ones of odd sides, by every schedule."""
    found = []
    for schedule in recipe.schedules or (None,):
        for index, (height, width) in enumerate(sizes(recipe)):
            mask = synthetic_mask(height, width) if recipe.masked else None
            photo = Photo(synthetic_image(height, width, SEED + index), mask)
            found.append(_exact(recipe, f"{height}x{width}", photo, schedule))
    return found


def default_images(recipe: Recipe) -> dict[str, Photo]:
    """The shipped photos, each with a hole where the recipe takes one."""
    return {
        name: Photo(image, synthetic_mask(*image.shape[:2]) if recipe.masked else None)
        for name, image in default_photos().items()
    }


def restored(restorer: Restorer, exact: Exact) -> NDArray[np.uint8]:
    """What `restorer` makes of the same image, whole, with the same noise. Raises `EngineError` for NaN in it."""
    told: dict[str, Any] = {"mask": exact.photo.mask, "schedule": exact.schedule, "noise": exact.noise or None}
    return cast(NDArray[np.uint8], restorer.restore(exact.photo.image, **told, tile=WHOLE, overlap=0))


def _fair(recipe: Recipe, name: str, photo: Photo, side: int) -> Exact:
    length, least = side, max(LEAST_SIDE, recipe.tiles.smallest)
    while True:
        part = centre(photo, length // recipe.factor)
        noise = image_noise(recipe, recipe.default_schedule, part.image, SEED)
        finished = _reference(recipe, part, recipe.default_schedule, noise)
        if length // 2 < least or _repeats(recipe, part, noise, finished):
            height, width = part.image.shape[:2]
            return Exact(f"{name} {height}x{width}", part, recipe.default_schedule, noise, finished.levels)
        length //= 2


def _repeats(recipe: Recipe, photo: Photo, noise: Arrays, exact: Finished) -> bool:
    moved = _reference(recipe, photo, recipe.default_schedule, noise, jitter=JITTER)
    psnr = measure(moved.unit, exact.unit, peak=1.0).psnr
    return psnr is None or psnr >= REPEATED_DB


def _exact(recipe: Recipe, name: str, photo: Photo, schedule: str | None) -> Exact:
    noise = image_noise(recipe, schedule, photo.image, SEED)
    return Exact(name, photo, schedule, noise, _reference(recipe, photo, schedule, noise).levels)


def _reference(recipe: Recipe, photo: Photo, schedule: str | None, noise: Arrays, jitter: float = 0.0) -> Finished:
    return reference_image(recipe, photo.image, mask=photo.mask, schedule=schedule, noise=noise, jitter=jitter)
