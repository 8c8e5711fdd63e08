"""A plain U-Net of 3.1 M parameters, InDI-shaped (F(x, t)), with random weights: a size that people do train.

Three scales, GroupNorm and SiLU, strided convolutions down, nearest neighbour up, no attention. Not a network of
any family here; it stands for the convolution networks that users bring.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PlainUNet", "plain_unet"]

SEED = 3
WIDTHS = (64, 128, 176)
TIME_WIDTH, GROUPS = 96, 8


class Block(nn.Module):
    """Residual block: norm, SiLU, conv, shift by time, norm, SiLU, conv."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, inside), nn.GroupNorm(GROUPS, outside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.time = nn.Linear(TIME_WIDTH, outside)
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h: Tensor = self.conv1(functional.silu(self.norm1(x)))
        h = h + self.time(time)[:, :, None, None]
        h = self.conv2(functional.silu(self.norm2(h)))
        h = h + self.skip(x)
        return h


class PlainUNet(nn.Module):
    """`[N, 3, H, W]` in [-1, 1], H and W multiples of 4, and `t` `[N]` in (0, 1], to the same shape."""

    def __init__(self) -> None:
        super().__init__()
        low, middle, high = WIDTHS
        self.time = nn.Sequential(nn.Linear(1, TIME_WIDTH), nn.SiLU(), nn.Linear(TIME_WIDTH, TIME_WIDTH), nn.SiLU())
        self.head = nn.Conv2d(3, low, 3, padding=1)
        self.down = nn.ModuleList([Block(low, low), Block(middle, middle), Block(high, high), Block(high, high)])
        self.shrink = nn.ModuleList(
            [nn.Conv2d(low, middle, 3, stride=2, padding=1), nn.Conv2d(middle, high, 3, stride=2, padding=1)]
        )
        self.up = nn.ModuleList([Block(high, high), Block(high + middle, middle), Block(middle + low, low)])
        self.norm, self.tail = nn.GroupNorm(GROUPS, low), nn.Conv2d(low, 3, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = self.time(t[:, None])
        first = self.down[0](self.head(x), time)
        second = self.down[1](self.shrink[0](first), time)
        h = self.down[3](self.down[2](self.shrink[1](second), time), time)
        h = self.up[0](h, time)
        for block, kept in zip(self.up[1:], (second, first), strict=True):
            h = functional.interpolate(h, scale_factor=2.0, mode="nearest")
            h = block(torch.cat([h, kept], dim=1), time)
        correction: Tensor = self.tail(functional.silu(self.norm(h)))
        return x + correction


def plain_unet() -> PlainUNet:
    """The network with its named random weights."""
    torch.manual_seed(SEED)
    return PlainUNet().eval()
