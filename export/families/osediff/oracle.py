"""The whole image by the formula, with diffusers' own networks: what the exported graphs are compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from lqhq.export.families.osediff.network import OseDiff

__all__ = ["PlainDecode", "PlainDenoise", "PlainEncode", "restore"]

T = 999


class PlainEncode(nn.Module):
    """`lq`, `noise` to `state` through AutoencoderKL's own `encode` and its posterior."""

    def __init__(self, model: OseDiff) -> None:
        super().__init__()
        self.vae, self.scaling = model.vae, model.scaling

    def forward(self, lq: Tensor, noise: Tensor) -> Tensor:
        posterior = cast(Any, self.vae).encode(lq).latent_dist
        return cast(Tensor, (posterior.mean + posterior.std * noise) * self.scaling)


class PlainDenoise(nn.Module):
    """`state`, `cond` to x0 = (state - sqrt(1-a) eps) / sqrt(a), with UNet2DConditionModel's own `forward` at t = 999.

    `prompt`, `[1, S, D]`, is the one of a baked model, which takes none.
    """

    def __init__(self, model: OseDiff, prompt: Tensor | None = None) -> None:
        super().__init__()
        self.unet, self.prompt = model.unet, prompt
        self.signal, self.noise = model.constants

    def forward(self, state: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            assert self.prompt is not None
            cond = self.prompt.expand(state.shape[0], -1, -1)
        eps = self.unet(state, torch.tensor(T), cond, return_dict=False)[0]
        return cast(Tensor, (state - self.noise * eps) / self.signal)


class PlainDecode(nn.Module):
    """`state` to `hq` through AutoencoderKL's own `decode`."""

    def __init__(self, model: OseDiff) -> None:
        super().__init__()
        self.vae, self.scaling = model.vae, model.scaling

    def forward(self, state: Tensor) -> Tensor:
        return cast(Tensor, cast(Any, self.vae).decode(state / self.scaling, return_dict=False)[0])


@torch.no_grad()
def restore(
    model: OseDiff, prepared: Tensor, cond: Tensor, noise: Tensor | None, perturb: Callable[[Tensor], Tensor]
) -> Tensor:
    """`prepared` `[1, 3, fH, fW]` in [-1, 1] to `[1, 3, fH, fW]`, not clamped, as one piece.

    `cond` is `[1, S, D]`; `noise` `[1, C, H, W]`, None for the posterior's mean. The state, the predicted x0 and the
    image pass through `perturb`, as every output of a graph does.
    """
    sides = (side // model.factor for side in prepared.shape[2:])
    drawn = torch.zeros(1, model.channels, *sides) if noise is None else noise
    state = perturb(PlainEncode(model)(prepared, drawn))
    x0 = perturb(PlainDenoise(model)(state, cond))
    return perturb(PlainDecode(model)(x0))
