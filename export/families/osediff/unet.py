"""The UNet as it is deployed: at timestep 999 only, for latents of any size, with the one step at its end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.osediff.one_step import LAST, OneStep, StepConstants
from lqhq.export.families.osediff.unet_blocks import Resnet, Transformer, Upsample, bake

__all__ = ["BakedUnet", "DeployedUnet", "score_bytes"]


class _Stage(nn.Module):
    """A down, middle or up block: residual blocks, each with a transformer or none, then a change of size or none."""

    def __init__(self, block: Any, emb: Tensor) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(one, emb) for one in block.resnets)
        found = getattr(block, "attentions", None)
        self.attentions = nn.ModuleList(Transformer(one) for one in found or ())
        samplers = getattr(block, "downsamplers", None)
        self.down = samplers[0].conv if samplers else None
        samplers = getattr(block, "upsamplers", None)
        self.up = Upsample(samplers[0]) if samplers else None

    def step(self, index: int, x: Tensor, cond: Tensor | None) -> Tensor:
        """Residual block `index` and the transformer after it."""
        x = self.resnets[index](x)
        return self.attentions[index](x, cond) if self.attentions else x


class _Trunk(nn.Module):
    """The UNet but for the one step: `state`, `cond` to eps."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        emb = unet.time_embedding(unet.time_proj(torch.tensor([LAST])))[0]
        self.conv_in, self.norm, self.conv_out = unet.conv_in, unet.conv_norm_out, unet.conv_out
        self.downs = nn.ModuleList(_Stage(block, emb) for block in unet.down_blocks)
        self.middle = _Stage(unet.mid_block, emb)
        self.ups = nn.ModuleList(_Stage(block, emb) for block in unet.up_blocks)

    def forward(self, state: Tensor, cond: Tensor | None) -> Tensor:
        x = self.conv_in(state)
        skips = [x]
        for stage in self.downs:
            for index in range(len(stage.resnets)):  # type: ignore[arg-type]
                x = stage.step(index, x, cond)  # type: ignore[operator]
                skips.append(x)
            if stage.down is not None:
                x = stage.down(x)  # type: ignore[operator]
                skips.append(x)
        x = self.middle.resnets[1](self.middle.step(0, x, cond))
        for stage in self.ups:
            for index in range(len(stage.resnets)):  # type: ignore[arg-type]
                x = stage.step(index, torch.cat([x, skips.pop()], dim=1), cond)  # type: ignore[operator]
            if stage.up is not None:
                x = stage.up(x, skips[-1])  # type: ignore[operator]
        return self.conv_out(functional.silu(self.norm(x)))  # type: ignore[no-any-return]


class DeployedUnet(nn.Module):
    """The role `denoise`: `state` `[N, 4, H, W]`, `cond` `[N, S, D]` to x0 `[N, 4, H, W]`; any H, W from 1.

    `unet` is diffusers' UNet2DConditionModel with OSEDiff's weights. All weights are shared with it but the first
    biases of residual blocks, which take the time embedding of t = 999 in.
    """

    @torch.no_grad()
    def __init__(self, unet: nn.Module, constants: StepConstants) -> None:
        super().__init__()
        self.trunk, self.one_step = _Trunk(unet), OneStep(constants)
        self.eval().requires_grad_(False)

    def forward(self, state: Tensor, cond: Tensor) -> Tensor:
        return self.one_step(state, self.trunk(state, cond))  # type: ignore[no-any-return]


class BakedUnet(nn.Module):
    """`DeployedUnet` for one prompt, `cond` `[1, S, D]`: keys and values of it are constants, `state` the one input."""

    @torch.no_grad()
    def __init__(self, unet: nn.Module, constants: StepConstants, cond: Tensor) -> None:
        super().__init__()
        self.trunk, self.one_step = _Trunk(unet), OneStep(constants)
        bake(self.trunk, cond)
        self.eval().requires_grad_(False)

    def forward(self, state: Tensor) -> Tensor:
        return self.one_step(state, self.trunk(state, None))  # type: ignore[no-any-return]


def score_bytes(heads: int) -> float:
    """Bytes of self-attention at full latent size, per square of the latent's pixels: float32 scores and their softmax.

    Both are held at once, as ONNX Runtime was seen to do: 64 and 80 pixels a side, 2 heads, 412 MB more.
    """
    return 2 * 4.0 * heads
