"""CPEN, the condition network: a low-quality image becomes one vector per image, in two parts.

`trunk` is convolutions; its mean over the image goes through `mlp`. Names of parameters are the official ones.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SLOPE", "WIDTH", "Cpen"]

WIDTH = 256  # of the condition and of the prior; a constant of the official network, as is the 64 below
INNER = WIDTH // 4
SLOPE = 0.1  # of every LeakyReLU


class ResBlock(nn.Module):
    """x + conv(LeakyReLU(conv(x))), no activation after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class Cpen(nn.Module):
    """`[N, channels, H, W]` to the condition `[N, 256]`; the image is folded by `fold` first (pixel-unshuffle)."""

    def __init__(self, *, channels: int, fold: int, blocks: int) -> None:
        super().__init__()
        self.fold = fold
        layers: list[nn.Module] = [nn.Conv2d(channels * fold * fold, INNER, 3, padding=1), nn.LeakyReLU(SLOPE)]
        layers += [ResBlock(INNER) for _ in range(blocks)]
        for inputs, outputs in ((INNER, 2 * INNER), (2 * INNER, 2 * INNER), (2 * INNER, WIDTH)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(SLOPE)]
        self.E = nn.Sequential(*layers)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(SLOPE), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(SLOPE)
        )

    def trunk(self, lq: Tensor) -> Tensor:
        """Features `[N, 256, H / fold, W / fold]`, to be averaged over the image."""
        return self.E(functional.pixel_unshuffle(lq, self.fold))  # type: ignore[no-any-return]

    def forward(self, lq: Tensor) -> Tensor:
        return self.mlp(self.trunk(lq).mean(dim=(2, 3)))  # type: ignore[no-any-return]
