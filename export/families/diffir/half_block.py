"""DIRformer's blocks for half precision: what must be in float32 stands in modules of its own, and scores stay small.

Half-precision graphs are for GPUs, so means are reductions here, which engines there fuse with what is around them,
and not the products that ONNX Runtime's CPU code prefers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.diffir.deployed_block import SMALLEST_NORM, DeployedBlock, ModulatedNorm, Scores
from lqhq.export.families.diffir.dirformer import EPSILON

__all__ = ["ISLANDS", "prepare_for_half"]


class Normalised(nn.Module):
    """Normalises over channels, then `* scale + shift`: sums of squares overflow and lose bits in half."""

    def __init__(self, centred: bool) -> None:
        super().__init__()
        self.centred = centred

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        centred = x - x.mean(dim=1, keepdim=True)
        y = (centred if self.centred else x) * torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + EPSILON)
        return y * scale[:, :, None, None] + shift[:, :, None, None]


class Modulation(nn.Module):
    """The prior `[N, 256]` to `scale` and `shift`, `[N, C]` each. A third of a small network's weights."""

    def __init__(self, norm: ModulatedNorm) -> None:
        super().__init__()
        self.scale, self.shift = norm.scale, norm.shift

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return functional.linear(z, self.scale), functional.linear(z, self.shift)


class HalfNorm(nn.Module):
    """What `ModulatedNorm` computes."""

    def __init__(self, norm: ModulatedNorm) -> None:
        super().__init__()
        self.normalised, self.modulation = Normalised(norm.centred), Modulation(norm)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.normalised(x, *self.modulation(z))  # type: ignore[no-any-return]


class UnitRows(nn.Module):
    """q / |q| along the last axis: a sum of squares over all pixels."""

    def forward(self, q: Tensor) -> Tensor:
        return q / (q * q).sum(3, keepdim=True).sqrt().clamp(min=SMALLEST_NORM)


class Softmax(nn.Module):
    """softmax(scores * temperature)."""

    def __init__(self, temperature: nn.Parameter) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, scores: Tensor) -> Tensor:
        return (scores * self.temperature).softmax(dim=3)


class UnitScores(nn.Module):
    """`Scores` with q and k normalised before their product: it is at most 1 then, not a sum over all pixels."""

    def __init__(self, scores: Scores) -> None:
        super().__init__()
        self.unit_q, self.unit_k, self.softmax = UnitRows(), UnitRows(), Softmax(scores.temperature)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return self.softmax(self.unit_q(q) @ self.unit_k(k).transpose(2, 3))  # type: ignore[no-any-return]


ISLANDS: tuple[type[nn.Module], ...] = (Normalised, UnitRows, Softmax)


def prepare_for_half(module: nn.Module) -> None:
    """Give every `DeployedBlock` inside `module` the parts above, in place; the function stays the same."""
    for block in [one for one in module.modules() if isinstance(one, DeployedBlock)]:
        assert isinstance(block.attention.scores, Scores)
        block.attention.scores = UnitScores(block.attention.scores)
        for branch in (block.attention, block.feed_forward):
            assert isinstance(branch.norm, ModulatedNorm)
            branch.norm = HalfNorm(branch.norm)
