"""DIRformer as it is deployed: the plain network's function and weights, in the form that engines run fastest."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lqhq.export.families.diffir.deployed_block import DeployedBlock
from lqhq.export.families.diffir.deployed_tail import ComposedTail
from lqhq.export.families.diffir.dirformer import Block, Dirformer
from lqhq.export.families.diffir.half_block import prepare_for_half

__all__ = ["DeployedDirformer"]


class DeployedDirformer(nn.Module):
    """The role `decode`: `lq` `[N, C, H, W]` and `cond` `[N, 256]` to `hq`, equal to `plain` but for rounding.

    The weights are copies, so `plain` stays as it is. Only for inference; H and W as for `plain`. `half` gives the form
    of `half_block.py`.
    """

    def __init__(self, plain: Dirformer, *, half: bool = False) -> None:
        super().__init__()
        with torch.no_grad():
            self.network = copy.deepcopy(plain).eval().requires_grad_(False)
            for module in self.network.children():
                if isinstance(module, nn.ModuleList):
                    for index, block in enumerate(module):
                        assert isinstance(block, Block)
                        module[index] = DeployedBlock(block)
            if plain.shape.tail:
                self.network.add_module("tail", ComposedTail(plain.tail, 2 * plain.shape.dim))
        if half:
            prepare_for_half(self.network)
        self.eval().requires_grad_(False)

    def forward(self, lq: Tensor, cond: Tensor) -> Tensor:
        return self.network(lq, cond)  # type: ignore[no-any-return]
