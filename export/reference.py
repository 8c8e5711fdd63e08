"""The PyTorch reference for a finished image: the oracle that parity compares a bundle with.

It shares nothing with the runtime but the numbers in the settings: torch enlarges and pads, the family's
formula runs without our rows, torch quantises. The whole image at once, no tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lqhq.export.load import Model
from lqhq.runtime.manifest import Pixels

__all__ = ["PIXELS", "Finished", "draw_noise", "reference_image", "reference_pred"]

PIXELS = Pixels(range=(-1.0, 1.0), order="rgb")  # InDI's convention in all code that we know


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """`levels` `[H', W', 3]` uint8, and `unit`, the same before quantising, float32 in [0, 1].

    `largest` is the largest absolute value before the clamp, in the network's range: rounding grows with it.
    """

    levels: NDArray[np.uint8]
    unit: NDArray[np.float32]
    largest: float


@torch.no_grad()
def reference_pred(model: Model, state: NDArray[np.float32], t: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network itself gives for `state` `[N, 3, H, W]` and `t` `[N]` in (0, 1]."""
    return _network(model)(torch.from_numpy(state), torch.from_numpy(t)).numpy()


@torch.no_grad()
def reference_image(
    model: Model,
    image: NDArray[np.uint8],
    schedule: str,
    noise: Mapping[str, NDArray[np.float32]],
    *,
    jitter: float = 0.0,
) -> Finished:
    """The image as the family's plain sampler finishes it.

    `image` is `[H, W, 3]` RGB; `noise` holds `start` `[3, H', W']` and `step` `[K, 3, H', W']`, N(0, 1). Every
    prediction is moved by up to `jitter`, at random from a fixed seed: so one sees what rounding alone may do.
    """
    pixels = model.settings.pixels or PIXELS
    low, high = pixels.range
    x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255
    y = _enlarged(model, x)
    height, width = y.shape[2:]
    y = (y if pixels.order == "rgb" else y.flip(1)) * (high - low) + low
    y = _padded(y, model.network.multiple, model.network.smallest)
    wide = {name: _on_canvas(array, y) for name, array in noise.items()}
    hq = model.family.sample(_network(model, jitter), y, model.samplings[schedule], wide)[0, :, :height, :width]
    unit = ((hq if pixels.order == "rgb" else hq.flip(0)).clamp(low, high) - low) / (high - low)
    levels = unit * 255
    levels = levels.floor() if model.settings.quantize == "truncate" else levels.round()
    return Finished(
        levels=levels.byte().permute(1, 2, 0).numpy(),
        unit=unit.permute(1, 2, 0).numpy(),
        largest=float(hq.abs().max()),
    )


def draw_noise(model: Model, schedule: str, height: int, width: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """N(0, 1) arrays for a result of `height` x `width`; none where the schedule is deterministic."""
    sampling = model.samplings[schedule]
    if sampling.noise == "none":
        return {}
    steps = sampling.steps or len(sampling.grid or ()) - 1
    draw = np.random.default_rng(seed)
    shapes = {"start": (3, height, width), "step": (steps, 3, height, width)}
    return {name: draw.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def _network(model: Model, jitter: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """The network as a function of t in (0, 1]."""
    draw = torch.Generator().manual_seed(0)

    def network(state: Tensor, t: Tensor) -> Tensor:
        pred: Tensor = model.network.module(state, t * model.time_scale)
        return pred + jitter * (2 * torch.rand(pred.shape, generator=draw) - 1) if jitter else pred

    return network


def _enlarged(model: Model, x: Tensor) -> Tensor:
    """bicubic: a = -0.5 (torch with antialias); bicubic_075: a = -0.75 (torch without)."""
    if model.scale == 1:
        return x
    size = (x.shape[2] * model.scale, x.shape[3] * model.scale)
    return functional.interpolate(x, size=size, mode="bicubic", antialias=model.settings.resize == "bicubic")


def _padded(y: Tensor, multiple: int, smallest: int) -> Tensor:
    """Mirror the image at its right and bottom edges up to the canvas; again and again where it is tiny."""
    for dim in (2, 3):
        length = y.shape[dim]
        target = -(-max(length, smallest) // multiple) * multiple
        mirrored = torch.cat([y, y.flip(dim).narrow(dim, 1, max(0, length - 2))], dim) if length > 1 else y
        repeats = -(-target // mirrored.shape[dim])
        y = torch.cat([mirrored] * repeats, dim).narrow(dim, 0, target)
    return y


def _on_canvas(noise: NDArray[np.float32], y: Tensor) -> NDArray[np.float32]:
    """Injected noise covers the image; the padding has none."""
    grown = np.zeros((*noise.shape[:-2], *y.shape[2:]), np.float32)
    grown[..., : noise.shape[-2], : noise.shape[-1]] = noise
    return grown
