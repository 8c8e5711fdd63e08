"""One image through lqhq, in a process of its own without torch: its pixels, and what they took.

python -m contenders.osediff_image BUNDLE SIDE FILE     SIDE of the given image; FILE.npy and FILE.json are written
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import numpy as np
from measuring.peak_rss import peak_rss
from measuring.scene import scene

from lqhq.runtime import Restorer
from lqhq.runtime.latent_plan import LatentChoice

__all__ = ["Took"]


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds` are those of restoring, `loading` those before. `tile` and `starts` are in latents; `how` is told."""

    seconds: float
    loading: float
    peak: int
    tile: int = 0
    starts: tuple[int, ...] = ()
    overlap: int = 0
    how: str = ""


def _restored(bundle: str, side: int, file: Path) -> Took:
    image = scene(side, side)
    begun = time.perf_counter()
    with Restorer.open(bundle) as restorer:
        choice = restorer.plan(image)
        assert isinstance(choice, LatentChoice)  # an OSEDiff bundle is a latent model's
        start = time.perf_counter()
        np.save(file.with_suffix(".npy"), restorer.restore(image))
        end = time.perf_counter()
    return Took(
        seconds=end - start,
        loading=start - begun,
        peak=peak_rss(),
        tile=choice.plan.tile.height,
        starts=choice.plan.tops,
        overlap=choice.plan.overlap,
        how=choice.describe(),
    )


if __name__ == "__main__":
    into = Path(sys.argv[3])
    into.with_suffix(".json").write_bytes(msgspec.json.encode(_restored(sys.argv[1], int(sys.argv[2]), into)))
