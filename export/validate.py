"""Compares a bundle with the PyTorch network that it came from: the role, whole trajectories, finished images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.export.goldens import role_cases, synthetic_image
from lqhq.export.load import Model
from lqhq.export.reference import PIXELS, draw_noise, reference_image, reference_pred
from lqhq.export.sensitivity import tolerances
from lqhq.runtime.bundle import Bundle
from lqhq.runtime.engines import open_session
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.parity import FORWARD, Case, Report, compare
from lqhq.runtime.restorer import Restorer

__all__ = ["validate"]

SEED = 11  # other inputs than the bundle's goldens
USER_SIDE = 512  # of a user's image, in network pixels: the reference runs it whole, in fp32
SEEN = 24  # network pixels; several of SSIM's windows
WHOLE = 1 << 16  # a tile that covers any image: tiling is not what parity is about


def validate(
    model: Model,
    bundle: Bundle,
    *,
    images: Mapping[str, NDArray[np.uint8]] | None = None,
    threads: int | None = None,
) -> Report:
    """Run both on the same inputs. `images` are `[H, W, 3]` by name; large ones are cut to their centre.

    Raises `EngineError` when a graph does not run; a difference is not an error but a failed case.
    """
    threads = cpu_count() if threads is None else threads
    return Report(cases=(*_roles(model, bundle, threads), *_restored(model, bundle, images or {}, threads)))


def _roles(model: Model, bundle: Bundle, threads: int) -> Iterator[Case]:
    """Batch 1 and 3, sides at odd multiples, several t."""
    low, high = (model.settings.pixels or PIXELS).range
    graph = bundle.path(bundle.manifest.graphs["denoise"]["fp32"].file)
    with open_session("onnx", graph, device="cpu", threads=threads) as session:
        for state, t in role_cases(model, SEED).values():
            wanted = reference_pred(model, state, t)
            found = session.run({"state": state, "t": t})["pred"]
            times = ", ".join(f"{value:g}" for value in t)
            case = f"{'x'.join(map(str, state.shape))}, t {times}"
            yield compare("denoise", case, found, wanted, peak=high - low, tolerance=FORWARD)


def _restored(model: Model, bundle: Bundle, images: Mapping[str, NDArray[np.uint8]], threads: int) -> Iterator[Case]:
    """Every schedule on images of odd sides; the floats before quantising and the finished 8 bits."""
    with Restorer.open(bundle, threads=threads) as restorer:
        for schedule in model.samplings:
            for index, (height, width) in enumerate(_sizes(model)):
                image = synthetic_image(height, width, SEED + index)
                yield from _image(model, restorer, f"{height}x{width}", image, schedule)
        for name, image in images.items():
            part = _centre(image, USER_SIDE // model.scale)
            case = f"{name} {part.shape[0]}x{part.shape[1]}"
            yield from _image(model, restorer, case, part, model.default_schedule)


def _image(model: Model, restorer: Restorer, case: str, image: NDArray[np.uint8], schedule: str) -> Iterator[Case]:
    height, width = (side * model.scale for side in image.shape[:2])
    noise = draw_noise(model, schedule, height, width, SEED)
    wanted = reference_image(model, image, schedule, noise)
    case = f"{case}, {schedule}"
    low, high = (model.settings.pixels or PIXELS).range
    trajectory, quantised = tolerances(model, image, schedule, noise)
    options: dict[str, Any] = {"schedule": schedule, "noise": noise or None, "tile": WHOLE, "overlap": 0}
    floats = restorer.restore((image / np.float32(255)).astype(np.float32), **options)
    ours, theirs = (_planes(array) * np.float32(high - low) for array in (floats, wanted.unit))
    yield compare("trajectory", case, ours, theirs, peak=high - low, tolerance=trajectory)
    ours8 = restorer.restore(image, **options)
    yield compare("image", case, _planes(ours8), _planes(wanted.levels), peak=255, tolerance=quantised)


def _planes(image: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(image, -1, 0)


def _sizes(model: Model) -> tuple[tuple[int, int], ...]:
    """Odd sides of the input: one smaller than the network takes, one that needs padding on both axes.

    The second is large enough for SSIM, whose window is 11 pixels.
    """
    least, seen = (-(-side // model.scale) for side in (model.network.smallest, SEEN))
    return ((max(1, least - 2) | 1, least + 4 | 1), (max(least + 8, seen) | 1, max(least + 2, seen + 6) | 1))


def _centre(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]
