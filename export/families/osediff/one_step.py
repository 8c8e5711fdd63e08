"""The one step: from the predicted noise to the clean latent, by the constants of the scheduler's last timestep."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["LAST", "OneStep", "StepConstants", "step_constants"]

LAST = 999  # the timestep that OSEDiff was trained at


class StepConstants(NamedTuple):
    """sqrt(a) and sqrt(1 - a) of a = alphas_cumprod[999], float32 values."""

    signal: float
    noise: float


def step_constants(beta_start: float, beta_end: float, timesteps: int) -> StepConstants:
    """Of diffusers' schedule `scaled_linear`, with its float32 arithmetic: betas = linspace(sqrt, sqrt, T)^2."""
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=torch.float32) ** 2
    a = torch.cumprod(1.0 - betas, dim=0)[LAST]
    return StepConstants(float(a**0.5), float((1 - a) ** 0.5))


class OneStep(nn.Module):
    """x0 = (state - sqrt(1-a) * eps) / sqrt(a) (Ho et al., arXiv 2006.11239, equation 15), always in float32.

    It multiplies the errors of eps by 14.6, so `state` must come as it was given, never rounded to half. There are
    no weights, and all is cast here, so that a half-precision network needs no island for it, which would round x0.
    """

    def __init__(self, constants: StepConstants) -> None:
        super().__init__()
        self.signal, self.noise = constants

    def forward(self, state: Tensor, eps: Tensor) -> Tensor:
        return (state.float() - self.noise * eps.float()) / self.signal
