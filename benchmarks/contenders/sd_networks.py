"""The UNet and the VAE decoder of Stable Diffusion 2.1, with random weights: one-step models are made of them.

What they compute means nothing; how an engine of them is built does. Sizes: the config.json of the base model (512
pixels). Their names of roles are borrowed: no family of this release is made of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn

from lqhq.export.family import RoleGraph
from lqhq.runtime import manifest as m

__all__ = ["DECODER", "SEED", "TINY_DECODER", "TINY_UNET", "UNET", "Decoder", "Unet", "decoder", "randomised", "unet"]

SEED = 20_261_124
WORDS = 77  # tokens of a prompt
UNET: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20, 20),  # numbers of heads, in spite of the name: each is 64 wide
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
DECODER: dict[str, Any] = {
    "latent_channels": 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
TINY_UNET = UNET | {"block_out_channels": (32, 64, 64, 64), "attention_head_dim": (1, 2, 2, 2), "layers_per_block": 1}
TINY_DECODER = DECODER | {"block_out_channels": (32, 32, 64, 64), "layers_per_block": 1}

Arrays = dict[str, NDArray[np.float32]]
Examples = Callable[[np.random.Generator, int, int, int], Arrays]


class Unet(nn.Module):
    """`state` `[N, 4, H, W]` latents, `t` `[N]`, `cond` `[N, 77, 1024]` to `pred`, as the state; sides divide by 8."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.network = UNet2DConditionModel(**config)

    def forward(self, state: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return cast(Tensor, self.network(state, t, cond, return_dict=False)[0])


class Decoder(nn.Module):
    """`state` `[N, 4, H, W]` latents to `hq` `[N, 3, 8H, 8W]`; in the middle an attention with one head of 512."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        whole = AutoencoderKL(**config)
        self.post_quant_conv, self.decoder = whole.post_quant_conv, whole.decoder

    def forward(self, state: Tensor) -> Tensor:
        return cast(Tensor, self.decoder(self.post_quant_conv(state)))


def randomised(make: Callable[[], nn.Module]) -> nn.Module:
    """`make()` with weights that keep the variance of what goes through; norms are the identity but for a little."""
    with torch.device("meta"):
        module = make()
    module.to_empty(device="cpu").eval().requires_grad_(False)
    draw = torch.Generator().manual_seed(SEED)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            bound = (3 / parameter[0].numel()) ** 0.5  # a uniform distribution of variance 1 / inputs
            parameter.uniform_(-bound, bound, generator=draw)
        else:
            parameter.uniform_(-0.1, 0.1, generator=draw)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return module


def unet(config: dict[str, Any]) -> RoleGraph:
    """As the role `denoise`; norms in float32."""
    module = randomised(lambda: Unet(config))
    width = config["cross_attention_dim"]
    return RoleGraph(
        role="denoise",
        module=module,
        plain=module,
        inputs={
            "state": m.Tensor(dtype="float32", shape=("N", 4, "H", "W")),
            "t": m.Tensor(dtype="float32", shape=("N",), per="sample"),
            "cond": m.Tensor(dtype="float32", shape=("N", WORDS, width), per="image"),
        },
        outputs={"pred": m.Tensor(dtype="float32", shape=("N", 4, "H", "W"))},
        examples=_prompted(width),
        multiple=8,
        islands=(nn.GroupNorm, nn.LayerNorm),
        pred="eps",
    )


def decoder(config: dict[str, Any]) -> RoleGraph:
    """As the role `decode`; norms in float32."""
    module = randomised(lambda: Decoder(config))
    return RoleGraph(
        role="decode",
        module=module,
        plain=module,
        inputs={"state": m.Tensor(dtype="float32", shape=("N", 4, "H", "W"))},
        outputs={"hq": m.Tensor(dtype="float32", shape=("N", 3, "8H", "8W"))},
        examples=lambda draw, n, high, wide: {"state": draw.standard_normal((n, 4, high, wide), np.float32)},
        islands=(nn.GroupNorm,),
    )


def _prompted(width: int) -> Examples:
    def examples(draw: np.random.Generator, n: int, height: int, width_: int) -> Arrays:
        return {
            "state": draw.standard_normal((n, 4, height, width_), np.float32),
            "t": draw.uniform(0, 999, n).astype(np.float32),
            "cond": draw.standard_normal((n, WORDS, width), np.float32),
        }

    return examples
