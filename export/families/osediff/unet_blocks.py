"""The UNet's blocks as they are deployed: no time embedding, no branches, weights shared with diffusers' modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CrossAttention", "Resnet", "SelfAttention", "Transformer", "Upsample", "bake", "conv_with_bias"]


def conv_with_bias(conv: nn.Conv2d, bias: Tensor) -> nn.Conv2d:
    """A convolution with the very weight of `conv`, and another bias, `[out]`."""
    result = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, device="meta")  # type: ignore[arg-type]
    result.weight = conv.weight
    result.bias = nn.Parameter(bias, requires_grad=False)
    return result


class Resnet(nn.Module):
    """A residual block whose time embedding `emb` (`[E]`, before its SiLU) is a constant in the first bias.

    `x` `[N, C, H, W]` to `[N, C', H, W]`. Plain: conv1(...) + time_emb_proj(silu(emb)), for every pixel the same.
    """

    def __init__(self, block: Any, emb: Tensor) -> None:
        super().__init__()
        shift = functional.linear(functional.silu(emb), block.time_emb_proj.weight, block.time_emb_proj.bias)
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.conv1 = conv_with_bias(block.conv1, block.conv1.bias + shift)
        self.conv2 = block.conv2
        self.shortcut = block.conv_shortcut if block.conv_shortcut is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(functional.silu(self.norm2(h)))  # type: ignore[no-any-return]


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`[N, heads, T, D]` and `[N, heads, S, D]` to `[N, T, heads * D]`."""
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Every token to every other: `x` `[N, T, C]` to `[N, T, C]`."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.heads: int = block.heads
        self.to_q, self.to_k, self.to_v, self.to_out = block.to_q, block.to_k, block.to_v, block.to_out[0]

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        q, k, v = (_split(part(x), self.heads) for part in (self.to_q, self.to_k, self.to_v))
        return self.to_out(_attended(q, k, v))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Every token to the prompt's: `x` `[N, T, C]`, `cond` `[N, S, D]` to `[N, T, C]`."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.heads: int = block.heads
        self.to_q, self.to_k, self.to_v, self.to_out = block.to_q, block.to_k, block.to_v, block.to_out[0]

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        q, k, v = _split(self.to_q(x), self.heads), *(_split(part(cond), self.heads) for part in (self.to_k, self.to_v))
        return self.to_out(_attended(q, k, v))  # type: ignore[no-any-return]


class BakedAttention(nn.Module):
    """`CrossAttention` to one prompt, `[1, S, D]`, whose keys and values are constants."""

    def __init__(self, attention: CrossAttention, cond: Tensor) -> None:
        super().__init__()
        self.heads, self.to_q, self.to_out = attention.heads, attention.to_q, attention.to_out
        # Parameters, not buffers: in half precision they must take the type of the queries.
        self.k, self.v = (
            nn.Parameter(_split(part(cond), self.heads).contiguous(), requires_grad=False)
            for part in (attention.to_k, attention.to_v)
        )

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        q = _split(self.to_q(x), self.heads)
        k, v = (part.expand(x.shape[0], -1, -1, -1) for part in (self.k, self.v))
        return self.to_out(_attended(q, k, v))  # type: ignore[no-any-return]


def _split(x: Tensor, heads: int) -> Tensor:
    """`[N, T, C]` to `[N, heads, T, C / heads]`."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call, no-any-return]


class TransformerBlock(nn.Module):
    """Self-attention, attention to the prompt, gated feed-forward; each on a norm, each added."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = block.norm1, block.norm2, block.norm3
        self.attn1, self.attn2 = SelfAttention(block.attn1), CrossAttention(block.attn2)
        self.up, self.down = block.ff.net[0].proj, block.ff.net[2]

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        x = self.attn1(self.norm1(x), None) + x
        x = self.attn2(self.norm2(x), cond) + x
        value, gate = self.up(self.norm3(x)).chunk(2, dim=-1)
        return self.down(value * functional.gelu(gate)) + x  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Transformer blocks over the pixels of `x` `[N, C, H, W]`; the projections are linear or 1x1 convolutions."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm, self.proj_in, self.proj_out = block.norm, block.proj_in, block.proj_out
        self.blocks = nn.ModuleList(TransformerBlock(one) for one in block.transformer_blocks)
        self.linear = isinstance(block.proj_in, nn.Linear)

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        high, wide = x.shape[2:]
        h = self.norm(x)
        h = self.proj_in(_tokens(h)) if self.linear else _tokens(self.proj_in(h))
        for block in self.blocks:
            h = block(h, cond)
        h = _pixels(self.proj_out(h), high, wide) if self.linear else self.proj_out(_pixels(h, high, wide))
        return h + x


def _tokens(x: Tensor) -> Tensor:
    """`[N, C, H, W]` to `[N, H * W, C]`."""
    return x.flatten(2).transpose(1, 2)


def _pixels(x: Tensor, high: int, wide: int) -> Tensor:
    """`[N, H * W, C]` to `[N, C, H, W]`."""
    return x.transpose(1, 2).unflatten(2, (high, wide))  # type: ignore[no-untyped-call, no-any-return]


class Upsample(nn.Module):
    """Each pixel twice each way, cut to the rows and columns of `like`, and a convolution.

    Plain: nearest interpolation to the size of `like`, whose sides S are 2s or 2s - 1. Its source of pixel i is
    floor(i * s / S), which is floor(i / 2) for both: for S = 2s - 1, i * s / S = i / 2 + i / (2S), and i < S.
    A constant factor is what every engine builds, whatever the size.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv = block.conv

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.conv(x[:, :, : like.shape[2], : like.shape[3]])  # type: ignore[no-any-return]


def bake(network: nn.Module, cond: Tensor) -> None:
    """Replace every attention to a prompt in `network` by one to `cond`, `[1, S, D]`."""
    for module in list(network.modules()):
        if isinstance(module, TransformerBlock):
            assert isinstance(module.attn2, CrossAttention)
            with torch.no_grad():
                module.attn2 = BakedAttention(module.attn2, cond)  # type: ignore[assignment]
