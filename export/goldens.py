"""Reference arrays that travel in the bundle, so that any machine can check itself without the checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.export.family import Recipe, RoleGraph
from lqhq.export.reference import draw_noise, reference_image, reference_outputs
from lqhq.export.sensitivity import forward_bound, tolerances
from lqhq.runtime.geometry import Size
from lqhq.runtime.selfcheck import BOUND, IMAGE_GOLDEN, role_golden

__all__ = ["role_cases", "synthetic_image", "synthetic_mask", "write_goldens"]

SEED = 20230321  # of every golden: the day of the InDI paper's first version
MAX_NOISE = 3 * (1 + 8)  # values per pixel: a golden of more than 8 noisy rows would outgrow a small bundle
SIDES = (17, 22)  # of the golden image, in network pixels beyond the smallest: odd, unlike, several of SSIM's windows


def role_cases(graph: RoleGraph, seed: int = SEED) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Inputs of one role by case: batch 1 and 3, and where it takes images, square and oblong ones."""
    side, least = graph.multiple, graph.smallest
    shapes = {
        "least": (1, least, least),
        "oblong": (1, least, least + side),
        "batch": (3, least + side, least),
    }
    if not graph.takes_image:
        del shapes["oblong"]
    draw = np.random.default_rng(seed)
    return {name: graph.examples(draw, *shape) for name, shape in shapes.items()}


def synthetic_image(height: int, width: int, seed: int = SEED) -> NDArray[np.uint8]:
    """A picture `[H, W, 3]` with what photos have: slow shades, a hard edge, texture; every channel different."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    shade = np.stack([x / width, y / height, 0.5 + 0.4 * np.sin(x / 3 + y / 5)], axis=-1)
    shade[y > x * height / width] *= 0.6
    texture = np.random.default_rng(seed).normal(0, 0.04, shade.shape)
    return np.clip(255 * (shade + texture), 0, 255).astype(np.uint8)


def synthetic_mask(height: int, width: int) -> NDArray[np.uint8]:
    """A hole `[H, W]`, 255 inside: a blob off the centre, and a scratch that runs over the last row."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    blob = ((y - 0.4 * height) / height) ** 2 + ((x - 0.6 * width) / width) ** 2 < 0.04
    scratch = np.abs(x - 0.2 * width - 0.3 * y) < 1
    return np.where(blob | scratch, 255, 0).astype(np.uint8)


def write_goldens(recipe: Recipe, folder: Path) -> None:
    """Write `goldens/<role>.npz` of every role and `goldens/image.npz` below `folder`."""
    (folder / IMAGE_GOLDEN).parent.mkdir(exist_ok=True)
    for graph in recipe.graphs:
        arrays: dict[str, Any] = {}
        for case, feed in role_cases(graph).items():
            wanted = reference_outputs(graph, feed)
            arrays |= {f"{case}.{name}": array for name, array in (feed | wanted).items()}
            arrays[f"{case}.{BOUND}"] = np.array(forward_bound(graph, feed))
        np.savez_compressed(folder / role_golden(graph.role), **arrays)
    np.savez_compressed(folder / IMAGE_GOLDEN, **_finished(recipe))


def _finished(recipe: Recipe) -> dict[str, Any]:
    """The image, what it was restored with, and what PyTorch made of it."""
    factor, schedule = recipe.factor, _schedule(recipe)
    # Odd sides, so that padding and cropping are part of the case.
    height, width = (
        -(-recipe.tiles.smallest // factor) + max(extra, beyond // factor) | 1
        for extra, beyond in zip((5, 8), SIDES, strict=True)
    )
    image = synthetic_image(height, width)
    mask = synthetic_mask(height, width) if recipe.masked else None
    noise = draw_noise(recipe, schedule, Size(height * factor, width * factor), SEED)
    hq = reference_image(recipe, image, mask=mask, schedule=schedule, noise=noise).levels
    _, quantised = tolerances(recipe, image, mask=mask, schedule=schedule, noise=noise)
    told: dict[str, Any] = {"image": image, "hq": hq, "changed": np.array(quantised.changed), **noise}
    told |= {} if mask is None else {"mask": mask}
    return told | ({} if schedule is None else {"schedule": np.array(schedule)})


def _schedule(recipe: Recipe) -> str | None:
    """The default schedule, or one with fewer rows where its noise would fill the bundle; None where there is none."""
    if recipe.default_schedule is None:
        return None
    drawn = {
        name: sum(math.prod(shape) for shape in recipe.streams(name, Size(1, 1)).values()) for name in recipe.schedules
    }
    if drawn[recipe.default_schedule] <= MAX_NOISE:
        return recipe.default_schedule
    return min(recipe.schedules, key=lambda name: (drawn[name], len(recipe.schedules[name].rows)))
