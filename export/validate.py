"""Compares a bundle with the PyTorch network that it came from: each role, tiles of sums, finished images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.export.family import Recipe, RoleGraph
from lqhq.export.goldens import role_cases, synthetic_image, synthetic_mask
from lqhq.export.heavy import is_heavy
from lqhq.export.reference import image_noise, reference_image, reference_outputs
from lqhq.export.sensitivity import forward_bound, tolerances
from lqhq.export.validate_segments import validate_segments
from lqhq.runtime.bundle import Bundle
from lqhq.runtime.bundle_sessions import open_sessions
from lqhq.runtime.engines import open_session
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.manifest import Manifest, Reduction
from lqhq.runtime.mask import hole_of
from lqhq.runtime.parity import FORWARD, Case, Report, Tolerance, compare
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.selfcheck import compare_outputs
from lqhq.runtime.session import Session

__all__ = ["SEED", "WHOLE", "Photo", "centre", "check_photos", "planes", "sizes", "validate"]

SEED = 11  # other inputs than the bundle's goldens
USER_SIDE = 512  # of a user's image, in network pixels: the reference runs it whole, in fp32
SEEN = 24  # network pixels; several of SSIM's windows
WHOLE = 1 << 16  # a tile that covers any image: tiling is not what parity is about
TILED = Tolerance(max_abs=1e-5, relative=True)  # of a mean over tiles: sums of float32, divided once


@dataclass(frozen=True, slots=True)
class Photo:
    """An image `[H, W, 3]` to compare on, and its hole `[H, W]` (255 inside) for bundles that take one."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None = None


def validate(
    recipe: Recipe,
    bundle: Bundle,
    *,
    photos: Mapping[str, Photo] | None = None,
    threads: int | None = None,
) -> Report:
    """Run both on the same inputs. `photos` are named; of large ones the centre is taken.

    Raises `EngineError` when a graph does not run; a difference is not an error but a failed case.
    """
    check_photos(photos or {}, bundle.manifest)
    threads = cpu_count() if threads is None else threads
    strips = validate_segments(recipe, bundle, seed=SEED, threads=threads)
    return Report(cases=(*_roles(recipe, bundle, threads), *strips, *_restored(recipe, bundle, photos or {}, threads)))


def _roles(recipe: Recipe, bundle: Bundle, threads: int) -> Iterator[Case]:
    """Batch 1 and 3, sides at odd multiples; and for sums, that those of tiles add up."""
    low, high = recipe.pixels.range
    for graph in recipe.graphs:
        setup = Setup(device="cpu", threads=threads)
        with open_session("onnx", bundle.graph(graph.role, "fp32"), setup) as session:
            for feed in role_cases(graph, SEED).values():
                shape = "x".join(map(str, next(iter(feed.values())).shape))
                found, wanted = session.run(feed), reference_outputs(graph, feed)
                tolerance = msgspec.structs.replace(FORWARD, max_abs=forward_bound(graph, feed))
                yield from compare_outputs(
                    graph.role, graph.outputs, shape, found, wanted, peak=high - low, tolerance=tolerance
                )
            if graph.role == "reduce" and recipe.reduction:
                yield _tiled(graph, session, recipe.reduction)


def _tiled(graph: RoleGraph, session: Session, reduction: Reduction) -> Case:
    """The mean of the whole, and from two halves that each see `reach` beyond their core."""
    step, reach = graph.multiple, reduction.reach
    width = 2 * (reach + step)  # so that each half ends inside the image
    lq = graph.examples(np.random.default_rng(SEED), 1, 2 * step, width)["lq"]

    def summed(left: int, right: int, core: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        mask = np.zeros((1, 1, 2 * step, width), np.float32)
        mask[..., core] = 1
        part = (np.ascontiguousarray(array[..., left:right]) for array in (lq, mask))
        found = session.run(dict(zip(("lq", "mask"), part, strict=True)))
        return found["sums"], found["count"]

    half = width // 2
    sums, count = summed(0, width, slice(None))
    first, second = summed(0, half + reach, slice(0, half)), summed(half - reach, width, slice(half, width))
    ours, whole = (first[0] + second[0]) / (first[1] + second[1]), sums / count
    return compare("sums of tiles", f"{2 * step}x{width} in two", ours, whole, peak=1.0, tolerance=TILED)


def _restored(recipe: Recipe, bundle: Bundle, photos: Mapping[str, Photo], threads: int) -> Iterator[Case]:
    """Every schedule on images of odd sides; the floats before quantising and the finished 8 bits."""
    setup = Setup(threads=threads)
    sessions = open_sessions(bundle, "onnx", "fp32", setup, thrifty=is_heavy(recipe))
    with Restorer(bundle.bare(), sessions) as restorer:
        for schedule in recipe.judged or recipe.schedules or (None,):
            for index, (height, width) in enumerate(sizes(recipe)):
                mask = synthetic_mask(height, width) if recipe.masked else None
                photo = Photo(synthetic_image(height, width, SEED + index), mask)
                yield from _image(recipe, restorer, f"{height}x{width}", photo, schedule)
        for name, photo in photos.items():
            part = centre(photo, USER_SIDE // recipe.factor)
            case = f"{name} {part.image.shape[0]}x{part.image.shape[1]}"
            yield from _image(recipe, restorer, case, part, recipe.default_schedule)


def _image(recipe: Recipe, restorer: Restorer, case: str, photo: Photo, schedule: str | None) -> Iterator[Case]:
    image = photo.image
    noise = image_noise(recipe, schedule, image, SEED)
    told: dict[str, Any] = {"mask": photo.mask, "schedule": schedule}
    wanted = reference_image(recipe, image, noise=noise, **told)
    case = f"{case}, {schedule}" if schedule else case
    low, high = recipe.pixels.range
    trajectory, quantised = tolerances(recipe, image, noise=noise, **told)
    options: dict[str, Any] = {**told, "noise": noise or None, "tile": WHOLE, "overlap": 0}
    floats = restorer.restore((image / np.float32(255)).astype(np.float32), **options)
    ours, theirs = (planes(array) * np.float32(high - low) for array in (floats, wanted.unit))
    yield compare("trajectory", case, ours, theirs, peak=high - low, tolerance=trajectory)
    ours8 = restorer.restore(image, **options)
    yield compare("image", case, planes(ours8), planes(wanted.levels), peak=255, tolerance=quantised)


def planes(image: NDArray[Any]) -> NDArray[Any]:
    """`[H, W, C]` to `[C, H, W]`."""
    return np.moveaxis(image, -1, 0)


def sizes(recipe: Recipe) -> tuple[tuple[int, int], ...]:
    """Odd sides of the input: one smaller than the network takes, one that needs padding on both axes.

    The second is large enough for SSIM, whose window is 11 pixels.
    """
    least, seen = (-(-side // recipe.factor) for side in (recipe.tiles.smallest, SEEN))
    return ((max(1, least - 2) | 1, least + 4 | 1), (max(least + 8, seen) | 1, max(least + 2, seen + 6) | 1))


def check_photos(photos: Mapping[str, Photo], manifest: Manifest) -> None:
    """Raise `OptionError` for a mask that is missing or not taken, `ImageError` for one of another size."""
    for photo in photos.values():
        hole_of(photo.mask, photo.image, manifest)


def centre(photo: Photo, side: int) -> Photo:
    """At most `side` pixels each way, from the middle."""
    top, left = (max(0, (length - side) // 2) for length in photo.image.shape[:2])
    rows, columns = slice(top, top + side), slice(left, left + side)
    return Photo(photo.image[rows, columns], None if photo.mask is None else photo.mask[rows, columns])
