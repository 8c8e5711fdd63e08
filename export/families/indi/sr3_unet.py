"""The UNet of SR3-style code (as in scSplit's InDI), with its own key names, rebuilt for inference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lqhq.export.families.indi.upsample import Upsample

__all__ = ["Sr3Shape", "Sr3UNet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sr3Shape:
    """What the network is made of. `attention` holds levels (0 is full size)."""

    in_channels: int
    out_channels: int
    width: int
    widths: tuple[int, ...]
    blocks: int
    attention: frozenset[int]
    groups: int


class TimeEncoding(nn.Module):
    """[sin, cos] of `t` times the stored frequencies."""

    inv_freq: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        steps = torch.arange(0, width, 2, dtype=torch.float32)
        self.register_buffer("inv_freq", torch.exp(steps * (-math.log(10000) / width)))

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.inv_freq[None]
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


class Block(nn.Module):
    """GroupNorm, swish, conv; index 2 was dropout and the keys keep its place."""

    def __init__(self, channels: int, out: int, groups: int) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, out, 3, padding=1)
        self.block = nn.Sequential(nn.GroupNorm(groups, channels), nn.SiLU(), nn.Identity(), conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)  # type: ignore[no-any-return]


class ResBlock(nn.Module):
    """Two blocks with the time added between them, plus the skip."""

    def __init__(self, shape: Sr3Shape, channels: int, out: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(shape.width, out))
        self.block1 = Block(channels, out, shape.groups)
        self.block2 = Block(out, out, shape.groups)
        self.res_conv = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.block1(x) + self.mlp(time)[:, :, None, None]
        return self.block2(h) + self.res_conv(x)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """One head over all pixels; scores are divided by sqrt(channels)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).chunk(3, dim=1)
        # Divided before the product, which could overflow in half precision.
        weights = self.softmax((q / math.sqrt(x.shape[1])).transpose(-1, -2) @ k)
        out = (v @ weights.transpose(-1, -2)).unflatten(2, x.shape[2:])
        return x + self.out(out)  # type: ignore[no-any-return]


class Step(nn.Module):
    """A residual block, with attention after it where asked for."""

    def __init__(self, shape: Sr3Shape, channels: int, out: int, attention: bool) -> None:
        super().__init__()
        self.res_block = ResBlock(shape, channels, out)
        self.attn = Attention(out, shape.groups) if attention else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.attn(self.res_block(x, time))  # type: ignore[no-any-return]


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


def _encoder(shape: Sr3Shape) -> tuple[nn.ModuleList, list[int]]:
    """The down path and the width that each of its layers leaves behind for the up path."""
    channels = shape.width
    layers: list[nn.Module] = [nn.Conv2d(shape.in_channels, channels, 3, padding=1)]
    skips = [channels]
    for level, out in enumerate(shape.widths):
        for _ in range(shape.blocks):
            layers.append(Step(shape, channels, out, level in shape.attention))
            channels = out
            skips.append(channels)
        if level + 1 < len(shape.widths):
            layers.append(Downsample(channels))
            skips.append(channels)
    return nn.ModuleList(layers), skips


def _decoder(shape: Sr3Shape, skips: list[int]) -> nn.ModuleList:
    channels = shape.widths[-1]
    layers: list[nn.Module] = []
    for level, out in reversed(list(enumerate(shape.widths))):
        for _ in range(shape.blocks + 1):
            layers.append(Step(shape, channels + skips.pop(), out, level in shape.attention))
            channels = out
        if level:
            layers.append(Upsample(channels))
    return nn.ModuleList(layers)


class Sr3UNet(nn.Module):
    """`state` `[N, C, H, W]` and `t` `[N]` (as fed to the embedding) to `[N, out, H, W]`; H, W multiples of
    2^(levels-1).
    """

    def __init__(self, shape: Sr3Shape) -> None:
        super().__init__()
        width, deepest = shape.width, shape.widths[-1]
        self.time_mlp = nn.Sequential(
            TimeEncoding(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width)
        )
        self.downs, skips = _encoder(shape)
        self.mid = nn.ModuleList([Step(shape, deepest, deepest, True), Step(shape, deepest, deepest, False)])
        self.ups = _decoder(shape, skips)
        self.final_conv = Block(shape.widths[0], shape.out_channels, shape.groups)

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        time = self.time_mlp(t)
        h, skips = state, []
        for layer in self.downs:
            h = layer(h, time) if isinstance(layer, Step) else layer(h)
            skips.append(h)
        for layer in self.mid:
            h = layer(h, time)
        for layer in self.ups:
            h = layer(torch.cat([h, skips.pop()], dim=1), time) if isinstance(layer, Step) else layer(h)
        return self.final_conv(h)  # type: ignore[no-any-return]
