"""The prior: T steps of a small network turn noise into the vector that guides the restoration."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lqhq.export.families.diffir.cpen import SLOPE, WIDTH

__all__ = ["Denoiser", "PriorSchedule", "prior"]


@dataclass(frozen=True, slots=True)
class PriorSchedule:
    """`Z = c1[t] * Z0 + c2[t] * Z` for t = T-1 ... 0: the posterior mean without noise, as released checkpoints do.

    `c1` and `c2` are the stored buffers posterior_mean_coef1 and posterior_mean_coef2, by t.
    """

    c1: tuple[float, ...]
    c2: tuple[float, ...]

    @property
    def steps(self) -> int:
        return len(self.c1)


class ResMlp(nn.Module):
    """Linear and LeakyReLU; the official name promises a residual that is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.resmlp = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        return self.resmlp(x)  # type: ignore[no-any-return]


class Denoiser(nn.Module):
    """Predicts the clean prior `[N, 256]` from the noisy one, the time and the condition."""

    def __init__(self, *, blocks: int) -> None:
        super().__init__()
        head: list[nn.Module] = [nn.Linear(2 * WIDTH + 1, WIDTH), nn.LeakyReLU(SLOPE)]
        self.resmlp = nn.Sequential(*head, *(ResMlp() for _ in range(blocks)))

    def forward(self, z: Tensor, time: float, condition: Tensor) -> Tensor:
        stamp = torch.full_like(z[:, :1], time)
        return self.resmlp(torch.cat([condition, stamp, z], dim=1))  # type: ignore[no-any-return]


def prior(denoiser: Denoiser, schedule: PriorSchedule, condition: Tensor, noise: Tensor) -> Tensor:
    """The final prior `[N, 256]`. Time is t / (10 T), so that T = 4 gives 0.075, 0.05, 0.025, 0."""
    z = noise
    for t in reversed(range(schedule.steps)):
        z0 = denoiser(z, t / (10 * schedule.steps), condition)
        z = schedule.c1[t] * z0 + schedule.c2[t] * z
    return z
