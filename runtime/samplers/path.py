"""The noise levels that a run visits, one per network call: what DDPM, DDIM and UniPC share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lqhq.runtime.errors import OptionError, ScheduleError
from lqhq.runtime.samplers.diffusion import NoiseProcess, Table
from lqhq.runtime.samplers.timesteps import (
    Spacing,
    check_count,
    multistep_timesteps,
    spaced_timesteps,
    steps_from_strength,
)
from lqhq.runtime.schedule import Start

__all__ = ["Path", "ddim_path", "ddpm_path", "guided_path", "unipc_path"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Path:
    """One entry per call, in the order of the run; all `[n]`.

    Attributes:
        t: what the network is fed.
        abar: the state's signal power before the call, in (0, 1).
        abar_next: the same after it, `abar` or more; 1 where the call ends at the clean image.

    Raises `ScheduleError` when a call would raise the noise. One that keeps it is legal: diffusers' DDIM with
    `set_alpha_to_one` false and offset 0 ends with such a call.
    """

    t: Table
    abar: Table
    abar_next: Table

    def __post_init__(self) -> None:
        rising = np.flatnonzero(~(self.abar_next >= self.abar))
        if rising.size:
            index = int(rising[0])
            raise ScheduleError(
                f"call {index} of the run",
                found=f"t = {self.t[index]:g}: abar {self.abar[index]:.6g} -> {self.abar_next[index]:.6g}",
                expected="no more noise after a call than before it",
                mend="Order the timesteps from most noise to least.",
            )

    @property
    def start(self) -> Start:
        """The start that noises an image to the first call's level: sqrt(abar)*image + sqrt(1-abar)*noise."""
        return Start(c_img=float(np.sqrt(self.abar[0])), c_noise=float(np.sqrt(1 - self.abar[0])))


def ddpm_path(
    process: NoiseProcess,
    *,
    steps: int,
    strength: float = 1.0,
    spacing: Spacing = "leading",
    offset: int = 0,
) -> Path:
    """diffusers' DDPM: the last `int(steps * strength)` timesteps, each going to the next in the list."""
    times = spaced_timesteps(steps=steps, spacing=spacing, train_steps=process.betas.size, offset=offset)
    kept = times[steps - steps_from_strength(steps=steps, strength=strength) :]
    return _path(process, kept, [*kept[1:], -1], final=1.0)


def ddim_path(
    process: NoiseProcess,
    *,
    steps: int,
    strength: float = 1.0,
    spacing: Spacing = "leading",
    offset: int = 0,
    end_clean: bool = True,
) -> Path:
    """diffusers' DDIM: each timestep goes to t - T // steps, whatever the spacing.

    Below 0 it goes to the clean image, or to level 0 with `end_clean` false (`set_alpha_to_one` of the
    library).
    """
    times = spaced_timesteps(steps=steps, spacing=spacing, train_steps=process.betas.size, offset=offset)
    kept = times[steps - steps_from_strength(steps=steps, strength=strength) :]
    stride = process.betas.size // steps
    return _path(process, kept, [t - stride for t in kept], final=_end(process, clean=end_clean))


def guided_path(process: NoiseProcess, *, first: int | None = None) -> Path:
    """guided-diffusion: the levels `first`, `first` - 1, ..., 0 of a (respaced) process; all by default."""
    levels = process.betas.size
    first = levels - 1 if first is None else first
    check_count("first", first, least=0, most=levels - 1)
    kept = range(first, -1, -1)
    return _path(process, kept, [index - 1 for index in kept], final=1.0)


def unipc_path(
    process: NoiseProcess,
    *,
    steps: int,
    strength: float = 1.0,
    spacing: Spacing = "linspace",
    offset: int = 0,
    final: Literal["zero", "sigma_min"] = "zero",
) -> Path:
    """diffusers' UniPC: each timestep goes to the next, the last to the clean image or to level 0.

    `final` is `final_sigmas_type`: zero ends clean; sigma_min is what diffusers did before it had the
    option. Raises `OptionError` for an unknown `final`.
    """
    if final not in ("zero", "sigma_min"):
        raise OptionError(
            "final",
            found=repr(final),
            expected="zero or sigma_min",
            mend="Copy final_sigmas_type from the scheduler's configuration.",
        )
    times = multistep_timesteps(steps=steps, spacing=spacing, train_steps=process.betas.size, offset=offset)
    kept = times[steps - steps_from_strength(steps=steps, strength=strength) :]
    return _path(process, kept, [*kept[1:], -1], final=_end(process, clean=final == "zero"))


def _end(process: NoiseProcess, *, clean: bool) -> float:
    return 1.0 if clean else float(process.alphas_cumprod[0])


def _path(process: NoiseProcess, levels: Sequence[int], after: Sequence[int], *, final: float) -> Path:
    abar = process.alphas_cumprod
    ends = np.asarray(after)
    return Path(
        t=process.timesteps[list(levels)].astype(np.float64),
        abar=abar[list(levels)],
        abar_next=np.where(ends < 0, abar.dtype.type(final), abar[np.maximum(ends, 0)]),
    )
