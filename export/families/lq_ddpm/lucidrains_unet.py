"""The Unet of lucidrains/denoising-diffusion-pytorch, version 2.3, with its key names, rebuilt for inference.

Written from a description of its keys and layers. Networks of that code base (commit faed4db, random weights, nine
configurations) gave the same forwards and DDIM runs up to 9e-7; no trained checkpoint of it was at hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.chunked_attention import attend

__all__ = ["LucidShape", "LucidUNet", "RMSNorm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LucidShape:
    """`width` of the first layer, `widths` of the levels, `times` of the embedded timestep and of what is made of it.

    `full` says which levels attend fully, the rest linearly.
    """

    channels: int
    outputs: int
    width: int
    widths: tuple[int, ...]
    times: tuple[int, int]
    full: tuple[bool, ...]
    heads: int
    head_width: int
    memories: int


class RMSNorm(nn.Module):
    """`x / |x| * g * sqrt(C)`, the norm over channels; `x` `[N, C, H, W]`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=1) * self.g * math.sqrt(x.shape[1])


class Block(nn.Module):
    """Convolution, norm, scale and shift, SiLU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, out, 3, padding=1)
        self.norm = RMSNorm(out)

    def forward(self, x: Tensor, film: tuple[Tensor, Tensor] | None = None) -> Tensor:
        x = self.norm(self.proj(x))
        return functional.silu(x if film is None else x * (film[0] + 1) + film[1])


class Resnet(nn.Module):
    """Two blocks, the first scaled and shifted by the time; plus the input."""

    def __init__(self, channels: int, out: int, time: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time, 2 * out))
        self.block1, self.block2 = Block(channels, out), Block(out, out)
        self.res_conv = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.mlp(time)[:, :, None, None].chunk(2, dim=1)
        return self.block2(self.block1(x, (scale, shift))) + self.res_conv(x)  # type: ignore[no-any-return]


class LinearAttention(nn.Module):
    """Softmax of queries over channels and of keys over pixels, so that no scores of pixel pairs arise."""

    def __init__(self, shape: LucidShape, channels: int) -> None:
        super().__init__()
        self.heads, inner = shape.heads, shape.heads * shape.head_width
        self.norm = RMSNorm(channels)
        self.mem_kv = nn.Parameter(torch.zeros(2, shape.heads, shape.head_width, shape.memories))
        self.to_qkv = nn.Conv2d(channels, 3 * inner, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(inner, channels, 1), RMSNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        qkv: Tensor = self.to_qkv(self.norm(x)).flatten(2)
        q, k, v = torch.unflatten(qkv, 1, (3, self.heads, -1)).unbind(1)  # [N, heads, D, T]
        memory = self.mem_kv[:, None].expand(-1, x.shape[0], -1, -1, -1)
        k, v = (torch.cat([memory[i], part], dim=-1) for i, part in enumerate((k, v)))
        # Sums over all pixels: in float32 also where the rest is not.
        weights = k.float().softmax(-1).to(k.dtype)
        context = weights @ v.transpose(-1, -2)
        q = q.float().softmax(-2).to(q.dtype) * q.shape[2] ** -0.5
        mixed = context.transpose(-1, -2) @ q
        return self.to_out(torch.unflatten(mixed.flatten(1, 2), 2, x.shape[2:]))  # type: ignore[no-any-return]


class FullAttention(nn.Module):
    """Every pixel to every other and to the memories."""

    def __init__(self, shape: LucidShape, channels: int) -> None:
        super().__init__()
        self.heads, inner = shape.heads, shape.heads * shape.head_width
        self.norm = RMSNorm(channels)
        self.mem_kv = nn.Parameter(torch.zeros(2, shape.heads, shape.memories, shape.head_width))
        self.to_qkv = nn.Conv2d(channels, 3 * inner, 1, bias=False)
        self.to_out = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        qkv: Tensor = self.to_qkv(self.norm(x)).flatten(2)
        q, k, v = torch.unflatten(qkv, 1, (3, self.heads, -1)).transpose(-1, -2).unbind(1)  # [N, heads, T, D]
        memory = self.mem_kv[:, None].expand(-1, x.shape[0], -1, -1, -1)
        k, v = (torch.cat([memory[i], part], dim=2) for i, part in enumerate((k, v)))
        root = q.shape[-1] ** -0.25
        mixed = attend(q * root, k * root, v).transpose(-1, -2).flatten(1, 2)
        return self.to_out(torch.unflatten(mixed, 2, x.shape[2:]))  # type: ignore[no-any-return]


class Embedding(nn.Module):
    """`[sin, cos]` of t times exp(-ln(10000) k / (half - 1)), k = 0 .. half - 1."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        table = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half))
        self.register_buffer("frequencies", table, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies[None]
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _down(channels: int, out: int, *, last: bool) -> nn.Module:
    if last:
        return nn.Conv2d(channels, out, 3, padding=1)
    return nn.Sequential(_Fold(), nn.Conv2d(4 * channels, out, 1))


class _Fold(nn.Module):
    """Each 2x2 pixels into channels, `[c][row][column]`."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_unshuffle(x, 2)


def _up(channels: int, out: int, *, last: bool) -> nn.Module:
    if last:
        return nn.Conv2d(channels, out, 3, padding=1)
    return nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest"), nn.Conv2d(channels, out, 3, padding=1))


class LucidUNet(nn.Module):
    """`state` `[N, C, H, W]` and `t` `[N]` to `[N, out, H, W]`; H, W multiples of 2^(levels-1)."""

    def __init__(self, shape: LucidShape) -> None:
        super().__init__()
        width, (embedded, time) = shape.width, shape.times
        self.init_conv = nn.Conv2d(shape.channels, width, 7, padding=3)
        self.time_mlp = nn.Sequential(Embedding(embedded), nn.Linear(embedded, time), nn.GELU(), nn.Linear(time, time))
        pairs = list(zip((width, *shape.widths[:-1]), shape.widths, shape.full, strict=True))

        def attention(full: bool, channels: int) -> nn.Module:
            return (FullAttention if full else LinearAttention)(shape, channels)

        self.downs = nn.ModuleList(
            nn.ModuleList(
                [
                    Resnet(inner, inner, time),
                    Resnet(inner, inner, time),
                    attention(full, inner),
                    _down(inner, outer, last=level == len(pairs) - 1),
                ]
            )
            for level, (inner, outer, full) in enumerate(pairs)
        )
        deepest = shape.widths[-1]
        self.mid_block1, self.mid_block2 = Resnet(deepest, deepest, time), Resnet(deepest, deepest, time)
        self.mid_attn = FullAttention(shape, deepest)
        self.ups = nn.ModuleList(
            nn.ModuleList(
                [
                    Resnet(outer + inner, outer, time),
                    Resnet(outer + inner, outer, time),
                    attention(full, outer),
                    _up(outer, inner, last=level == len(pairs) - 1),
                ]
            )
            for level, (inner, outer, full) in enumerate(reversed(pairs))
        )
        self.final_res_block = Resnet(2 * width, width, time)
        self.final_conv = nn.Conv2d(width, shape.outputs, 1)

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        time = self.time_mlp(t)
        x = first = self.init_conv(state)
        skips = []
        for level in cast(Iterable[nn.ModuleList], self.downs):
            x = level[0](x, time)
            skips.append(x)
            x = level[1](x, time)
            x = level[2](x) + x
            skips.append(x)
            x = level[3](x)
        x = self.mid_block1(x, time)
        x = self.mid_block2(self.mid_attn(x) + x, time)
        for level in cast(Iterable[nn.ModuleList], self.ups):
            x = level[0](torch.cat([x, skips.pop()], dim=1), time)
            x = level[1](torch.cat([x, skips.pop()], dim=1), time)
            x = level[3](level[2](x) + x)
        return self.final_conv(self.final_res_block(torch.cat([x, first], dim=1), time))  # type: ignore[no-any-return]
