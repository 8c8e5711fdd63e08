"""Images through PyTorch eager, in a process of its own: diffusers' networks, the formula, tiles by plain loops.

python -m contenders.osediff_plain FOLDER SIDE=FILE ...     SIDE of the given image; FILE.json has lqhq's tiles

Nothing of lqhq's runtime is used: enlarging, windows, rounding and the colour fix are written down once more. The
pixels go to FILE.npy, what they took to FILE.json; the merged weights are left in the folder.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import torch
from measuring.peak_rss import peak_rss
from measuring.scene import scene
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from contenders.osediff_folder import OseDiffFolder
from contenders.osediff_image import Took
from contenders.osediff_merged import write_merged
from lqhq.export.families.osediff.network import OseDiff, load_osediff
from lqhq.export.families.osediff.oracle import PlainDecode, PlainDenoise, PlainEncode

__all__ = ["blended", "ramp"]

SCALE = 4
EPSILON = 1e-5  # of the colour fix


def ramp(length: int, tile: int, start: int, overlap: int) -> Tensor:
    """Weights `[tile]` along one axis: over the inner half of an overlap they rise from 0 to 1; 1 at canvas edges."""
    guard = overlap // 4
    distance = torch.arange(tile, dtype=torch.float64) + 0.5
    rise = ((distance - guard) / max(1, overlap - 2 * guard)).clamp(0, 1)
    weights = torch.ones(tile, dtype=torch.float64)
    if start > 0:
        weights *= rise
    if start + tile < length:
        weights *= rise.flip(0)
    return weights


def blended(run: Any, state: Tensor, tile: int, starts: tuple[int, ...], overlap: int) -> Tensor:
    """`run` on squares of `state` `[1, C, L, L]`, blended by ramps that are divided by their sum."""
    length = state.shape[2]
    total, weight = torch.zeros_like(state, dtype=torch.float64), torch.zeros(length, length, dtype=torch.float64)
    for top in starts:
        for left in starts:
            window = ramp(length, tile, top, overlap)[:, None] * ramp(length, tile, left, overlap)[None, :]
            rows, columns = slice(top, top + tile), slice(left, left + tile)
            total[:, :, rows, columns] += run(state[:, :, rows, columns]) * window
            weight[rows, columns] += window
    return (total / weight).float()


@torch.inference_mode()
def restored(model: OseDiff, image: NDArray[np.uint8], cond: Tensor, tiles: Took) -> NDArray[np.uint8]:
    """`[H, W, 3]` to `[4H, 4W, 3]`: the posterior's mean, and the colours of the enlarged image."""
    unit = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    source = functional.interpolate(unit, scale_factor=SCALE, mode="bicubic", antialias=True)
    latents = source.shape[2] // model.factor
    state = PlainEncode(model)(2 * source - 1, torch.zeros(1, model.channels, latents, latents))
    denoise = PlainDenoise(model)
    x0 = blended(lambda part: denoise(part, cond), state, tiles.tile, tiles.starts, tiles.overlap)
    hq = PlainDecode(model)(x0)
    levels = ((hq.clamp(-1, 1) + 1) / 2 * 255).round() / 255
    mean, mean_source = (one.mean((2, 3), keepdim=True) for one in (levels, source))
    std, std_source = ((one.var((2, 3), keepdim=True) + EPSILON).sqrt() for one in (levels, source))
    fixed = ((levels - mean) / std * std_source + mean_source).clamp(0, 1)
    return cast(NDArray[np.uint8], (fixed[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())


def _main(where: OseDiffFolder, asked: list[tuple[int, Path]], empty: list[int]) -> None:
    begun = time.perf_counter()
    model = load_osediff(where.adapter, where.base)
    cond = model.embed(torch.tensor([empty]))
    loading = time.perf_counter() - begun
    for side, file in asked:
        tiles = msgspec.json.decode(file.with_suffix(".json").read_bytes(), type=Took)
        start = time.perf_counter()
        found = restored(model, scene(side, side), cond, tiles)
        took = Took(seconds=time.perf_counter() - start, loading=loading, peak=peak_rss(), how="one piece, eager")
        np.save(file.with_suffix(".npy"), found)
        file.with_suffix(".json").write_bytes(msgspec.json.encode(took))
    if not (where.merged / "text.safetensors").exists():
        write_merged(where.merged, model)


if __name__ == "__main__":
    pairs = [pair.partition("=") for pair in sys.argv[3:]]
    tokens = [int(one) for one in sys.argv[2].split(",")]
    _main(OseDiffFolder(Path(sys.argv[1])), [(int(side), Path(file)) for side, _, file in pairs], tokens)
