"""Reference arrays that travel in the bundle, so that any machine can check itself without the checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lqhq.export.load import Model
from lqhq.export.reference import PIXELS, draw_noise, reference_image, reference_pred
from lqhq.export.sensitivity import tolerances
from lqhq.runtime.selfcheck import DENOISE_GOLDENS, IMAGE_GOLDEN

__all__ = ["role_cases", "synthetic_image", "write_goldens"]

SEED = 20230321  # of every golden: the day of the InDI paper's first version
MAX_NOISE_ROWS = 8  # a golden of more noisy rows would be larger than the rest of a small bundle


def role_cases(model: Model, seed: int = SEED) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """`state` and `t` for the role `denoise`: batch 1 and 3, square and oblong, the first, last and a middle t."""
    low, high = (model.settings.pixels or PIXELS).range
    side, least = model.network.multiple, model.network.smallest
    shapes = {
        "least": (1, least, least),
        "oblong": (1, least, least + side),
        "batch": (3, least + side, least),
    }
    times = {"least": [1.0], "oblong": [0.37], "batch": [1.0, 0.5, 0.05]}
    draw = np.random.default_rng(seed)
    return {
        name: (
            draw.uniform(low, high, (n, model.network.channels, h, w)).astype(np.float32),
            np.array(times[name], np.float32),
        )
        for name, (n, h, w) in shapes.items()
    }


def synthetic_image(height: int, width: int, seed: int = SEED) -> NDArray[np.uint8]:
    """A picture `[H, W, 3]` with what photos have: slow shades, a hard edge, texture; every channel different."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    shade = np.stack([x / width, y / height, 0.5 + 0.4 * np.sin(x / 3 + y / 5)], axis=-1)
    shade[y > x * height / width] *= 0.6
    texture = np.random.default_rng(seed).normal(0, 0.04, shade.shape)
    return np.clip(255 * (shade + texture), 0, 255).astype(np.uint8)


def write_goldens(model: Model, folder: Path) -> None:
    """Write `goldens/denoise.npz` and `goldens/image.npz` below `folder`."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, (state, t) in role_cases(model).items():
        arrays |= {f"{name}.state": state, f"{name}.t": t, f"{name}.pred": reference_pred(model, state, t)}
    (folder / DENOISE_GOLDENS).parent.mkdir(exist_ok=True)
    np.savez_compressed(folder / DENOISE_GOLDENS, **arrays)  # type: ignore[arg-type]
    schedule = _schedule(model)
    # Odd sides, so that padding and cropping are part of the case.
    height, width = (-(-model.network.smallest // model.scale) + max(extra, 17 // model.scale) | 1 for extra in (5, 8))
    image = synthetic_image(height, width)
    noise = draw_noise(model, schedule, height * model.scale, width * model.scale, SEED)
    hq = reference_image(model, image, schedule, noise).levels
    _, quantised = tolerances(model, image, schedule, noise)
    told = {"schedule": np.array(schedule), "changed": np.array(quantised.changed)}
    np.savez_compressed(folder / IMAGE_GOLDEN, image=image, hq=hq, **told, **noise)  # type: ignore[arg-type]


def _schedule(model: Model) -> str:
    """The default schedule, or one with fewer rows where its noise would fill the bundle."""
    default = model.samplings[model.default_schedule]
    rows = {name: item.steps or len(item.grid or ()) - 1 for name, item in model.samplings.items()}
    if default.noise == "none" or rows[model.default_schedule] <= MAX_NOISE_ROWS:
        return model.default_schedule
    return min(rows, key=lambda name: (model.samplings[name].noise != "none", rows[name]))
