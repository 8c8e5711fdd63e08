"""DiffIR, stage 2: condition, prior, restoration, as one network with the official names of parameters."""

from __future__ import annotations

from torch import Tensor, nn

from lqhq.export.families.diffir.cpen import Cpen
from lqhq.export.families.diffir.dirformer import Dirformer, Shape
from lqhq.export.families.diffir.prior import Denoiser, PriorSchedule, prior

__all__ = ["DiffIR"]


class DiffIR(nn.Module):
    """`forward` is the official one with the noise as an input (Xia et al., arXiv 2303.09472, stage 2)."""

    def __init__(
        self, shape: Shape, *, fold: int, encoder_blocks: int, denoiser_blocks: int, schedule: PriorSchedule
    ) -> None:
        super().__init__()
        self.G = Dirformer(shape)
        self.condition = Cpen(channels=shape.channels, fold=fold, blocks=encoder_blocks)
        self.denoise = Denoiser(blocks=denoiser_blocks)
        self.schedule = schedule

    def prior(self, condition: Tensor, noise: Tensor) -> Tensor:
        """The prior `[N, 256]` from CPEN's output and N(0, 1) noise, `[N, 256]` both."""
        return prior(self.denoise, self.schedule, condition, noise)

    def forward(self, lq: Tensor, noise: Tensor) -> Tensor:
        """`hq`, not clamped, of `lq` `[N, C, H, W]` in [0, 1]; H and W are multiples of 8 after folding."""
        return self.G(lq, self.prior(self.condition(lq), noise))  # type: ignore[no-any-return]
