"""UNetModel of openai/guided-diffusion, with its official key names, rebuilt for inference.

The network is described by a `GuidedShape`: what can be read from the weights (widths, attention levels, ...)
and what cannot (heads, order of the attention's 3C axis). Dropout, gradient checkpoints and fp16 switches have
no place here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.indi.upsample import Upsample

__all__ = ["GROUPS", "Attention", "GuidedShape", "GuidedUNet"]

GROUPS = 32  # of every GroupNorm in that code base; all widths divide by it


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedShape:
    """What the network is made of. `attention` holds levels (0 is full size); `heads` are per encoder and decoder.

    `head_width` > 0 overrides the head counts. `new_order` means the 3C axis is [q,k,v][head][dim] instead of
    [head][q,k,v][dim].
    """

    in_channels: int
    out_channels: int
    width: int
    widths: tuple[int, ...]
    blocks: int
    attention: frozenset[int]
    scale_shift: bool
    updown: bool
    heads: int
    heads_up: int
    head_width: int
    new_order: bool

    def heads_at(self, channels: int, *, up: bool) -> int:
        if self.head_width > 0:
            return channels // self.head_width
        return self.heads_up if up else self.heads


class Norm(nn.GroupNorm):
    """GroupNorm of 32 groups, eps 1e-5."""

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels)


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)  # type: ignore[no-any-return]


class ResBlock(nn.Module):
    """Norm, SiLU, conv; time; norm, SiLU, conv; plus the skip. `resize` "up"/"down" acts after the first SiLU."""

    def __init__(self, shape: GuidedShape, channels: int, out: int, resize: str = "") -> None:
        super().__init__()
        self.scale_shift, self.resize = shape.scale_shift, resize
        self.in_layers = nn.Sequential(Norm(channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))
        time = 4 * shape.width
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, 2 * out if self.scale_shift else out))
        # Index 2 was dropout; the keys keep its place.
        conv = nn.Conv2d(out, out, 3, padding=1)
        self.out_layers = nn.Sequential(Norm(out), nn.SiLU(), nn.Identity(), conv)
        self.skip_connection = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def resized(self, x: Tensor) -> Tensor:
        if self.resize == "up":
            return functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return functional.avg_pool2d(x, 2) if self.resize == "down" else x

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        norm, act, conv = self.in_layers
        h = conv(self.resized(act(norm(x))))
        embedded = self.emb_layers(time)[:, :, None, None]
        if self.scale_shift:
            scale, shift = embedded.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[3](self.out_layers[1](h))
        else:
            h = self.out_layers(h + embedded)
        return self.skip_connection(self.resized(x)) + h  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention over all pixels; q and k are both scaled by head_dim^-0.25."""

    def __init__(self, channels: int, heads: int, new_order: bool) -> None:
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = Norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)
        self.softmax = nn.Softmax(dim=-1)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values `[N, heads, dim, T]` of `x` `[N, C, T]`, the scale of scores in the first two."""
        dim = x.shape[1] // self.heads
        qkv = self.qkv(self.norm(x))
        if self.new_order:
            q, k, v = qkv.unflatten(1, (3, self.heads, dim)).unbind(1)
        else:
            q, k, v = qkv.unflatten(1, (self.heads, 3, dim)).unbind(2)
        scale = dim**-0.25
        return q * scale, k * scale, v

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(x.flatten(2))
        weights = self.softmax(q.transpose(-1, -2) @ k)
        out = (v @ weights.transpose(-1, -2)).flatten(1, 2)
        return x + self.proj_out(out).unflatten(2, x.shape[2:])  # type: ignore[no-any-return]


class Stage(nn.ModuleList):
    """Layers run one after another; only `ResBlock` takes the time."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, time) if isinstance(layer, ResBlock) else layer(x)
        return x


def _encoder(shape: GuidedShape) -> tuple[nn.ModuleList, list[int]]:
    """The input blocks and the width that each leaves behind for the decoder."""
    channels = shape.widths[0]
    stages = [Stage([nn.Conv2d(shape.in_channels, channels, 3, padding=1)])]
    skips = [channels]
    for level, out in enumerate(shape.widths):
        for _ in range(shape.blocks):
            layers: list[nn.Module] = [ResBlock(shape, channels, out)]
            channels = out
            if level in shape.attention:
                layers.append(Attention(out, shape.heads_at(out, up=False), shape.new_order))
            stages.append(Stage(layers))
            skips.append(channels)
        if level + 1 < len(shape.widths):
            down = ResBlock(shape, out, out, "down") if shape.updown else Downsample(out)
            stages.append(Stage([down]))
            skips.append(channels)
    return nn.ModuleList(stages), skips


def _decoder(shape: GuidedShape, skips: list[int]) -> nn.ModuleList:
    channels, stages = shape.widths[-1], []
    for level, out in reversed(list(enumerate(shape.widths))):
        for index in range(shape.blocks + 1):
            layers: list[nn.Module] = [ResBlock(shape, channels + skips.pop(), out)]
            channels = out
            if level in shape.attention:
                layers.append(Attention(out, shape.heads_at(out, up=True), shape.new_order))
            if level and index == shape.blocks:
                layers.append(ResBlock(shape, out, out, "up") if shape.updown else Upsample(out))
            stages.append(Stage(layers))
    return nn.ModuleList(stages)


class GuidedUNet(nn.Module):
    """`state` `[N, C, H, W]` and `t` `[N]` (as fed to the embedding) to `[N, out, H, W]`; H, W multiples of
    2^(levels-1).
    """

    frequencies: Tensor

    def __init__(self, shape: GuidedShape) -> None:
        super().__init__()
        time, deepest = 4 * shape.width, shape.widths[-1]
        self.time_embed = nn.Sequential(nn.Linear(shape.width, time), nn.SiLU(), nn.Linear(time, time))
        self.input_blocks, skips = _encoder(shape)
        heads = shape.heads_at(deepest, up=False)
        self.middle_block = Stage(
            [
                ResBlock(shape, deepest, deepest),
                Attention(deepest, heads, shape.new_order),
                ResBlock(shape, deepest, deepest),
            ]
        )
        self.output_blocks = _decoder(shape, skips)
        last = nn.Conv2d(shape.widths[0], shape.out_channels, 3, padding=1)
        self.out = nn.Sequential(Norm(shape.widths[0]), nn.SiLU(), last)
        half = shape.width // 2
        steps = torch.arange(half, dtype=torch.float32)
        self.register_buffer("frequencies", torch.exp(-math.log(10000) * steps / half), persistent=False)

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies[None]
        time = self.time_embed(torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1))
        h, skips = state, []
        for stage in self.input_blocks:
            h = stage(h, time)
            skips.append(h)
        h = self.middle_block(h, time)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), time)
        return self.out(h)  # type: ignore[no-any-return]
