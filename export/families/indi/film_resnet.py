"""FilmResNet: lqhq's own small InDI network, with every convolution on the low-resolution grid.

It exists so that the package can ship a trained model of a few megabytes. `x_t` is folded to the LR grid
(pixel-unshuffle), passes residual blocks modulated by `t` (FiLM), and is unfolded again as a correction to `x_t`.
No normalisation and no attention, so the result at a pixel depends on its neighbourhood only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class FilmBlock(nn.Module):
    """Residual block: conv, scale and shift by `t`, ReLU, conv."""

    def __init__(self, width: int, time_width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(time_width, 2 * width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.film(time)[:, :, None, None].chunk(2, dim=1)
        h = torch.relu(self.conv1(x) * (1 + scale) + shift)
        return x + self.conv2(h)  # type: ignore[no-any-return]


class FilmResNet(nn.Module):
    """InDI network F(x_t, t) -> x0 for images `[N, 3, H, W]` in [-1, 1], H and W multiples of `fold`.

    `t` is `[N]` float32 in (0, 1], fed as it is.
    """

    def __init__(self, *, width: int = 64, blocks: int = 8, time_width: int = 64, fold: int = 4):
        super().__init__()
        self.fold = fold
        self.time = nn.Sequential(nn.Linear(1, time_width), nn.SiLU(), nn.Linear(time_width, time_width), nn.SiLU())
        self.head = nn.Conv2d(3 * fold * fold, width, 3, padding=1)
        self.body = nn.ModuleList(FilmBlock(width, time_width) for _ in range(blocks))
        self.join = nn.Conv2d(width, width, 3, padding=1)
        self.tail = nn.Conv2d(width, 3 * fold * fold, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = self.time(t[:, None])
        folded = self.head(functional.pixel_unshuffle(x, self.fold))
        h = folded
        for block in self.body:
            h = block(h, time)
        return x + functional.pixel_shuffle(self.tail(folded + self.join(h)), self.fold)
