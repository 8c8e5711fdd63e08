"""IndiUnet (DoubleConv, Down, Up), with its own key names, rebuilt for inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["IndiUNet"]


class DoubleConv(nn.Module):
    """conv, GroupNorm(1), GELU, conv, GroupNorm(1); with `residual`, gelu(x + that)."""

    def __init__(self, channels: int, out: int, middle: int = 0, residual: bool = False) -> None:
        super().__init__()
        self.residual, middle = residual, middle or out
        self.double_conv = nn.Sequential(
            nn.Conv2d(channels, middle, 3, padding=1, bias=False),
            nn.GroupNorm(1, middle),
            nn.GELU(),
            nn.Conv2d(middle, out, 3, padding=1, bias=False),
            nn.GroupNorm(1, out),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.double_conv(x)
        return functional.gelu(x + h) if self.residual else h


class Down(nn.Module):
    def __init__(self, channels: int, out: int, time: int) -> None:
        super().__init__()
        first, second = DoubleConv(channels, channels, residual=True), DoubleConv(channels, out)
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), first, second)
        self.emb_layer = nn.Sequential(nn.SiLU(), nn.Linear(time, out))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.maxpool_conv(x) + self.emb_layer(time)[:, :, None, None]  # type: ignore[no-any-return]


class Up(nn.Module):
    def __init__(self, channels: int, out: int, time: int) -> None:
        super().__init__()
        first = DoubleConv(channels, channels, residual=True)
        self.conv = nn.Sequential(first, DoubleConv(channels, out, channels // 2))
        self.emb_layer = nn.Sequential(nn.SiLU(), nn.Linear(time, out))

    def forward(self, x: Tensor, skip: Tensor, time: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        return self.conv(torch.cat([skip, x], dim=1)) + self.emb_layer(time)[:, :, None, None]  # type: ignore[no-any-return]


class IndiUNet(nn.Module):
    """`state` `[N, C, H, W]` and `t` `[N]` to `[N, out, H, W]`; H and W multiples of 8.

    `width` is the first layer's channels, `time` those of the embedding: [sin, cos] of t * 10000^(-2i/time), no
    MLP.
    """

    frequencies: Tensor

    def __init__(self, *, in_channels: int, out_channels: int, width: int, time: int) -> None:
        super().__init__()
        w = width
        self.inc = DoubleConv(in_channels, w)
        self.down1, self.down2, self.down3 = (
            Down(w, 2 * w, time),
            Down(2 * w, 4 * w, time),
            Down(4 * w, 4 * w, time),
        )
        self.bot1, self.bot2, self.bot3 = (
            DoubleConv(4 * w, 8 * w),
            DoubleConv(8 * w, 8 * w),
            DoubleConv(8 * w, 4 * w),
        )
        self.up1, self.up2, self.up3 = Up(8 * w, 2 * w, time), Up(4 * w, w, time), Up(2 * w, w, time)
        self.outc = nn.Conv2d(w, out_channels, 1)
        steps = torch.arange(0, time, 2, dtype=torch.float32)
        self.register_buffer("frequencies", 1.0 / (10000 ** (steps / time)), persistent=False)

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies[None]
        time = torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
        x1 = self.inc(state)
        x2 = self.down1(x1, time)
        x3 = self.down2(x2, time)
        x4 = self.bot3(self.bot2(self.bot1(self.down3(x3, time))))
        h = self.up1(x4, x3, time)
        h = self.up2(h, x2, time)
        return self.outc(self.up3(h, x1, time))  # type: ignore[no-any-return]
