"""The doubling layer that guided-diffusion's and SR3's U-Nets share, key names included."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Upsample"]


class Upsample(nn.Module):
    """Nearest x2, then `conv` 3x3: `[N, C, H, W]` to `[N, C, 2H, 2W]`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))  # type: ignore[no-any-return]
