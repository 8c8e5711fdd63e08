"""What a checkpoint's noise process is, and what its library does with it: all that a schedule is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from lqhq.runtime.samplers.ddpm import Variance
from lqhq.runtime.samplers.diffusion import NoiseProcess
from lqhq.runtime.samplers.prediction import Prediction
from lqhq.runtime.samplers.timesteps import Spacing

__all__ = ["Library", "Loaded", "Process", "Sampler"]

Library = Literal["diffusers", "guided-diffusion", "lucidrains"]
Sampler = Literal["unipc", "ddpm", "ddim"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """`levels` are the process of the training, never respaced; the network is fed a level's timestep times `t_scale`.

    `clip` bounds x0 in DDPM and DDIM; `sampler` is what the checkpoint's own program runs. What follows is read where
    the checkpoint's files say it, and None where they do not: `spacing` and `offset` of diffusers' samplers, `final` of
    its UniPC, `end_clean` of its DDIM, `respacing` of guided-diffusion. `unipc` names what of the scheduler's settings
    its UniPC would need and is not built here.
    """

    library: Library
    levels: NoiseProcess
    prediction: Prediction
    variance: Variance
    clip: float | None
    sampler: Sampler
    t_scale: float = 1.0
    spacing: Spacing | None = None
    offset: int = 0
    final: Literal["zero", "sigma_min"] | None = None
    end_clean: bool = True
    respacing: str = ""
    truncates: bool = False
    unipc: str = ""


class Loaded(nn.Module):
    """What a format of this family loads: the network as its library has it, and the process.

    `network(state, t)` gives `[N, 3 or 6, H, W]`; `chunked` makes a copy of it that shares its weights and attends by
    chunks.
    """

    def __init__(self, network: nn.Module, chunked: nn.Module, process: Process, outputs: int) -> None:
        super().__init__()
        self.network, self.chunked, self.process, self.outputs = network, chunked, process, outputs

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        return self.network(state, t)  # type: ignore[no-any-return]
