"""The PyTorch reference: what each role gives, and the finished image. The oracle that parity compares a bundle with.

It shares nothing with the runtime but the names of the steps: torch enlarges, masks and pads, the family's
formula runs without our rows, torch quantises. The whole image at once, no tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lqhq.export.family import Arrays, Perturb, Recipe, RoleGraph
from lqhq.runtime import manifest as m
from lqhq.runtime.geometry import Size

__all__ = ["Finished", "draw_noise", "image_noise", "reference_image", "reference_outputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """`levels` `[H', W', 3]` uint8; `unit`, the same before quantising, float32 in [0, 1]; `raw`, before the clamp.

    `raw` is RGB in the network's range; rounding grows with `largest`, its largest absolute value.
    """

    levels: NDArray[np.uint8]
    unit: NDArray[np.float32]
    raw: NDArray[np.float32]

    @property
    def largest(self) -> float:
        return float(np.abs(self.raw).max())


@torch.no_grad()
def reference_outputs(graph: RoleGraph, feed: Arrays) -> dict[str, NDArray[np.float32]]:
    """What the plain network gives for the inputs of `graph`, by name."""
    found = graph.plain(*(torch.from_numpy(feed[name]) for name in graph.inputs))
    tensors = found if isinstance(found, tuple) else (found,)
    return {name: tensor.numpy() for name, tensor in zip(graph.outputs, tensors, strict=True)}


@torch.no_grad()
def reference_image(
    recipe: Recipe,
    image: NDArray[np.uint8],
    *,
    mask: NDArray[np.uint8] | None = None,
    schedule: str | None = None,
    noise: Arrays,
    jitter: float = 0.0,
) -> Finished:
    """The image as the family's plain formula finishes it.

    `image` is `[H, W, 3]` RGB; `mask` `[H, W]`, above zero inside the hole, for recipes that are masked; `noise` holds
    N(0, 1) arrays as `recipe.streams` says. Every network output is moved by up to `jitter`, at random from a fixed
    seed: so one sees what rounding alone may do.
    """
    pixels = recipe.pixels
    low, high = pixels.range
    x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255
    hole = torch.from_numpy((np.zeros(image.shape[:2]) if mask is None else mask > 0).astype(np.float32))[None, None]
    size = Size(*(side * recipe.factor for side in image.shape[:2]))
    x = _enlarged(recipe, x)
    given = (x if pixels.order == "rgb" else x.flip(1)) * (high - low) + low
    hq = recipe.restore(_prepared(recipe, given, hole), schedule, noise, _perturb(jitter))
    hq = _finished(recipe, hq, given, hole, size)[0]
    raw = hq if pixels.order == "rgb" else hq.flip(0)
    unit = (raw.clamp(low, high) - low) / (high - low)
    levels = unit * 255
    levels = levels.floor() if recipe.finish[-1] == m.Quantize(mode="truncate") else levels.round()
    return Finished(
        levels=levels.byte().permute(1, 2, 0).numpy(),
        unit=unit.permute(1, 2, 0).numpy(),
        raw=raw.permute(1, 2, 0).numpy(),
    )


def draw_noise(recipe: Recipe, schedule: str | None, size: Size, seed: int) -> dict[str, NDArray[np.float32]]:
    """N(0, 1) arrays for a prepared image of `size`; none where nothing is drawn."""
    draw = np.random.default_rng(seed)
    shapes: Mapping[str, tuple[int, ...]] = recipe.streams(schedule, size)
    return {name: draw.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def image_noise(
    recipe: Recipe, schedule: str | None, image: NDArray[np.uint8], seed: int
) -> dict[str, NDArray[np.float32]]:
    """`draw_noise` for `image` `[H, W, 3]` as it comes, before it is prepared."""
    return draw_noise(recipe, schedule, Size(*(side * recipe.factor for side in image.shape[:2])), seed)


def _perturb(jitter: float) -> Perturb:
    draw = torch.Generator().manual_seed(0)
    if not jitter:
        return lambda tensor: tensor
    return lambda tensor: tensor + jitter * (2 * torch.rand(tensor.shape, generator=draw) - 1)


def _enlarged(recipe: Recipe, x: Tensor) -> Tensor:
    """bicubic: a = -0.5 (torch with antialias); bicubic_075: a = -0.75 (torch without)."""
    for step in recipe.prepare:
        if isinstance(step, m.Resize) and step.factor > 1:
            size = (x.shape[2] * step.factor, x.shape[3] * step.factor)
            x = functional.interpolate(x, size=size, mode="bicubic", antialias=step.filter == "bicubic")
    return x


def _prepared(recipe: Recipe, given: Tensor, hole: Tensor) -> Tensor:
    """The enlarged image, masked and padded."""
    x = given
    for step in recipe.prepare:
        if isinstance(step, m.MaskOut):
            x = torch.cat([x * (1 - hole), hole], dim=1)
        elif isinstance(step, m.Pad):
            x = _padded(x, step)
    return x


def _finished(recipe: Recipe, hq: Tensor, given: Tensor, hole: Tensor, size: Size) -> Tensor:
    """The padding cut away, the given pixels put back around the hole."""
    growth = recipe.scale // recipe.factor
    for step in recipe.finish:
        if isinstance(step, m.Crop):
            hq = hq[:, :, : size.height * growth, : size.width * growth]
        elif isinstance(step, m.Composite):
            hq = hole * hq + (1 - hole) * given
    return hq


def _padded(x: Tensor, pad: m.Pad) -> Tensor:
    """Mirror the image at its right and bottom edges up to the canvas; again and again where it is tiny."""
    for dim in (2, 3):
        length = x.shape[dim]
        target = -(-max(length, pad.smallest) // pad.multiple) * pad.multiple
        if pad.mode == "edge":
            period = torch.cat([x] + [x.narrow(dim, length - 1, 1)] * (target - length), dim)
        elif pad.mode == "symmetric":
            period = torch.cat([x, x.flip(dim)], dim)
        else:
            period = torch.cat([x, x.flip(dim).narrow(dim, 1, max(0, length - 2))], dim) if length > 1 else x
        repeats = -(-target // period.shape[dim])
        x = torch.cat([period] * repeats, dim).narrow(dim, 0, target)
    return x
