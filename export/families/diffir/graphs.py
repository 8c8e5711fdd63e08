"""DiffIR's three roles: sums of CPEN's trunk over a tile, the prior from their mean, and the restoration."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.diffir.cpen import WIDTH, Cpen
from lqhq.export.families.diffir.deployed import DeployedDirformer
from lqhq.export.families.diffir.half_block import ISLANDS
from lqhq.export.families.diffir.network import DiffIR
from lqhq.export.families.diffir.prior import prior
from lqhq.export.family import RoleGraph
from lqhq.runtime import manifest as m

__all__ = ["Encode", "Reduce", "graphs"]

VECTOR = m.Tensor(dtype="float32", shape=("N", WIDTH), per="image")
# Multiples of a compared side: at one, the deepest level is a pixel, and normalising over it a sign, which any rounding
# may flip.
LEAST = 2
HOLE = 0.3  # share of the examples' pixels

Arrays = dict[str, NDArray[np.float32]]
Examples = Callable[[np.random.Generator, int, int, int], Arrays]


class Reduce(nn.Module):
    """The role `reduce`: `lq` `[N, C, H, W]` and `mask` `[N, 1, H, W]` to `sums` `[N, 256]` and `count` `[N, 1]`.

    Each cell of CPEN's folded grid counts by the mean of its mask, so sums and counts of tiles add up, and
    sums / count is CPEN's mean where the mask is one throughout.
    """

    def __init__(self, condition: Cpen) -> None:
        super().__init__()
        self.condition = condition

    def forward(self, lq: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        fold = self.condition.fold
        share = functional.avg_pool2d(mask, fold) if fold > 1 else mask
        # Along rows first: two short sums in float32 lose less than a long one.
        return (self.condition.trunk(lq) * share).sum(3).sum(2), share.sum(3).sum(2)


class Encode(nn.Module):
    """The role `encode`: `pooled` and N(0, 1) `noise`, `[N, 256]`, to the prior `cond`; its steps are unrolled."""

    def __init__(self, network: DiffIR) -> None:
        super().__init__()
        self.condition, self.denoise = network.condition.mlp, network.denoise
        self.schedule = network.schedule

    def forward(self, pooled: Tensor, noise: Tensor) -> Tensor:
        return prior(self.denoise, self.schedule, self.condition(pooled), noise)


def graphs(network: DiffIR, multiple: int) -> tuple[RoleGraph, RoleGraph, RoleGraph]:
    """`reduce`, `encode`, `decode` of a loaded network whose images have sides of `multiple`'s multiples."""
    return _reduce(network, multiple), _encode(network, multiple), _decode(network, multiple)


def _reduce(network: DiffIR, multiple: int) -> RoleGraph:
    module = Reduce(network.condition).eval()
    return RoleGraph(
        role="reduce",
        module=module,
        plain=module,
        inputs={"lq": _image(network), "mask": m.Tensor(dtype="float32", shape=("N", 1, "H", "W"))},
        outputs={
            "sums": m.Tensor(dtype="float32", shape=("N", WIDTH)),
            "count": m.Tensor(dtype="float32", shape=("N", 1)),
        },
        examples=_images(network.G.shape.channels),
        multiple=multiple,
        smallest=multiple * LEAST,
    )


def _encode(network: DiffIR, multiple: int) -> RoleGraph:
    module = Encode(network).eval()
    return RoleGraph(
        role="encode",
        module=module,
        plain=module,
        inputs={"pooled": VECTOR, "noise": VECTOR},
        outputs={"cond": VECTOR},
        examples=_vectors(network, multiple),
        islands=(Encode,),  # a thousandth of the work, and four steps that each pass errors on
    )


def _decode(network: DiffIR, multiple: int) -> RoleGraph:
    scale = network.G.shape.scale
    high, wide = (f"{scale}{axis}" if scale > 1 else axis for axis in "HW")
    return RoleGraph(
        role="decode",
        module=DeployedDirformer(network.G),
        plain=network.G,
        half=cache(lambda: DeployedDirformer(network.G, half=True)),  # asked for again and again; `halved` copies
        islands=ISLANDS,
        inputs={"lq": _image(network), "cond": VECTOR},
        outputs={"hq": m.Tensor(dtype="float32", shape=("N", 3, high, wide))},
        examples=_guided(network, multiple),
        multiple=multiple,
        smallest=multiple * LEAST,
    )


def _image(network: DiffIR) -> m.Tensor:
    return m.Tensor(dtype="float32", shape=("N", network.G.shape.channels, "H", "W"))


def _images(channels: int) -> Examples:
    """`lq`, with a hole where it has a channel for one, and any mask of zeros and ones."""

    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> Arrays:
        lq = draw.uniform(0, 1, (n, channels, height, width))
        if channels == 4:
            lq[:, 3] = lq[:, 3] < HOLE
            lq[:, :3] *= 1 - lq[:, 3:]
        mask = draw.integers(0, 2, (n, 1, height, width))
        return {"lq": lq.astype(np.float32), "mask": mask.astype(np.float32)}

    return examples


def _vectors(network: DiffIR, multiple: int) -> Examples:
    """The means of images, since the network is made for no other vectors, and noise."""
    images = _images(network.G.shape.channels)

    @torch.no_grad()
    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> Arrays:
        lq = torch.from_numpy(images(draw, n, multiple, multiple)["lq"])
        noise = draw.standard_normal((n, WIDTH), dtype=np.float32)
        return {"pooled": network.condition.trunk(lq).mean(dim=(2, 3)).numpy(), "noise": noise}

    return examples


def _guided(network: DiffIR, multiple: int) -> Examples:
    """Images, and the priors of other images of the same kind."""
    images, vectors = _images(network.G.shape.channels), _vectors(network, multiple)

    @torch.no_grad()
    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> Arrays:
        given = {name: torch.from_numpy(array) for name, array in vectors(draw, n, height, width).items()}
        cond = network.prior(network.condition.mlp(given["pooled"]), given["noise"])
        return {"lq": images(draw, n, height, width)["lq"], "cond": cond.numpy()}

    return examples
