"""DiffIR checkpoints with random weights, in the official format and at the official sizes.

What they restore means nothing; how long it takes does. Sizes: `network_g` of the official option files.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from lqhq.export.families.diffir.dirformer import Shape
from lqhq.export.families.diffir.network import DiffIR
from lqhq.export.families.diffir.prior import PriorSchedule
from lqhq.tools.train_diffir import buffers, official

__all__ = ["DEBLUR", "SEED", "SHALLOW", "TINY", "X4", "Described", "network", "write_checkpoint"]

SEED = 20_261_123


class Described(NamedTuple):
    """All that a `DiffIR` is built from but its schedule; `fold` and `encoder_blocks` are CPEN's."""

    shape: Shape
    fold: int
    encoder_blocks: int


SR = Shape(
    channels=3,
    dim=64,
    blocks=(13, 1, 1, 1),
    refinement=13,
    heads=(1, 2, 4, 8),
    hidden=(140, 281, 563, 1126),
    bias=False,
    norm_bias=False,
    tail=True,
    scale=4,
    residual=False,
)
X4 = Described(SR, fold=1, encoder_blocks=9)
DEBLUR = Described(
    Shape(
        channels=3,
        dim=48,
        blocks=(3, 5, 6, 6),
        refinement=4,
        heads=(1, 2, 4, 8),
        hidden=(96, 192, 384, 768),
        bias=False,
        norm_bias=True,
        tail=False,
        scale=1,
        residual=True,
    ),
    fold=4,
    encoder_blocks=5,
)


def _like(described: Described, **changed: int | tuple[int, ...]) -> Described:
    shape = {name: getattr(described.shape, name) for name in Shape.__dataclass_fields__}
    return described._replace(shape=Shape(**(shape | changed)))


SHALLOW = _like(X4, blocks=(2, 1, 1, 1), refinement=2)  # every kind of layer of X4, at its widths
TINY = _like(X4, dim=8, blocks=(1, 1, 1, 1), refinement=1, hidden=(17, 35, 70, 140))


def network(described: Described) -> DiffIR:
    """With PyTorch's initial weights, and norms and temperatures that are not all one."""
    torch.manual_seed(SEED)
    c1, c2 = (tuple(buffers()[f"posterior_mean_coef{index}"].tolist()) for index in (1, 2))
    module = DiffIR(
        described.shape,
        fold=described.fold,
        encoder_blocks=described.encoder_blocks,
        denoiser_blocks=1,
        schedule=PriorSchedule(c1, c2),
    )
    for name, parameter in module.eval().requires_grad_(False).named_parameters():
        if name.endswith("body.weight"):
            parameter.uniform_(0.5, 1.5)
        elif name.endswith("temperature"):
            parameter.uniform_(0.5, 4)
    return module


def write_checkpoint(described: Described, path: Path) -> Path:
    """`{"params_ema": ...}` with the buffers and the second copies of the condition and the denoiser, as released."""
    torch.save({"params_ema": official(network(described))}, path)
    return path
