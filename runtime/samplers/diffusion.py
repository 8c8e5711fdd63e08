"""The Gaussian noise process of a diffusion model: its betas, their running product, its posterior.

    x_t = sqrt(abar_t) * x0 + sqrt(1 - abar_t) * noise,     abar_t = (1 - beta_0) ... (1 - beta_t)

Two libraries build these tables with different rounding, and a sampler must use the tables its checkpoint was
sampled with: diffusers keeps float32 tables, guided-diffusion float64 ones. The dtype of a `NoiseProcess`
says which, and the builders in this package do their arithmetic in that dtype, since diffusers' own float32
arithmetic moves coefficients by up to 8e-5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import OptionError, ScheduleError
from lqhq.runtime.samplers.timesteps import check_count, respaced_timesteps

__all__ = [
    "BetaSchedule",
    "NoiseProcess",
    "Posterior",
    "Table",
    "diffusers_process",
    "guided_process",
    "posterior",
]

Table = NDArray[np.floating[Any]]
BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
MAX_BETA = 0.999


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NoiseProcess:
    """A noise process of T levels, least noise first.

    Attributes:
        betas: `[T]` float32 or float64, each in (0, 1).
        alphas_cumprod: `[T]`, same dtype, strictly falling, each in (0, 1).
        timesteps: `[T]` int64, what the network is fed at each level: the level's own number, or after
            respacing that of the original process.

    The arrays given become read-only. Raises `ScheduleError` when the tables do not agree or a level is
    without noise or without signal.
    """

    betas: Table
    alphas_cumprod: Table
    timesteps: NDArray[np.int64]

    def __post_init__(self) -> None:
        abar = self.alphas_cumprod
        fits = abar.ndim == 1 and abar.shape == self.betas.shape == self.timesteps.shape and abar.size > 0
        if not fits or not (abar[-1] > 0 and abar[0] < 1 and np.all(np.diff(abar) < 0)):
            raise ScheduleError(
                "noise process",
                found=f"alphas_cumprod of shape {abar.shape} from {abar.flat[:1]} to {abar.flat[-1:]}",
                expected="three tables of one length, alphas_cumprod strictly falling within (0, 1)",
                mend="Check the betas; a process that ends in pure noise (zero terminal SNR) has no rows.",
            )
        for table in (self.betas, abar, self.timesteps):
            table.setflags(write=False)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Posterior:
    """q(x_(t-1) | x_t, x0) at each level `[T]`: mean = `x0_factor` * x0 + `state_factor` * x_t.

    `log_variance_clipped` and `fixed_large_variance` take their first entry from level 1's posterior,
    because the posterior variance of level 0 is zero.
    """

    variance: Table
    log_variance_clipped: Table
    fixed_large_variance: Table
    x0_factor: Table
    state_factor: Table


def diffusers_process(
    *,
    schedule: BetaSchedule = "linear",
    train_steps: int = 1000,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
) -> NoiseProcess:
    """The float32 tables of a diffusers scheduler, equal to its own to the last bit for the schedules tested.

    `beta_start` and `beta_end` do not matter to `squaredcos_cap_v2`. Raises `OptionError` for an unknown
    schedule or betas outside 0 < beta_start <= beta_end < 1.
    """
    check_count("train_steps", train_steps)
    if not 0 < beta_start <= beta_end < 1:
        raise OptionError(
            "beta_start, beta_end",
            found=f"{beta_start}, {beta_end}",
            expected="0 < beta_start <= beta_end < 1",
            mend="Copy both from the checkpoint's scheduler_config.json.",
        )
    match schedule:
        case "linear":
            betas = _linspace32(beta_start, beta_end, train_steps)
        case "scaled_linear":
            betas = _linspace32(beta_start**0.5, beta_end**0.5, train_steps) ** 2
        case "squaredcos_cap_v2":
            betas = _cosine_betas(train_steps).astype(np.float32)
        case _:
            raise _unknown_schedule(schedule, "linear, scaled_linear, squaredcos_cap_v2")
    # The product itself is accumulated in float64 and rounded once per entry, as torch does on a CPU.
    abar = np.cumprod((1 - betas).astype(np.float64)).astype(np.float32)
    return NoiseProcess(betas=betas, alphas_cumprod=abar, timesteps=np.arange(train_steps, dtype=np.int64))


def guided_process(
    *, schedule: Literal["linear", "cosine"] = "linear", train_steps: int = 1000, respacing: str = ""
) -> NoiseProcess:
    """The float64 tables of guided-diffusion, respaced by `respacing` ("50", "10,15,25", "ddim50") if given.

    A respaced process gets new betas, 1 - abar(t_i)/abar(t_(i-1)), and is fed the original timesteps.
    """
    check_count("train_steps", train_steps)
    match schedule:
        case "linear":
            scale = 1000 / train_steps
            betas = np.linspace(scale * 0.0001, scale * 0.02, train_steps, dtype=np.float64)
        case "cosine":
            betas = _cosine_betas(train_steps)
        case _:
            raise _unknown_schedule(schedule, "linear, cosine")
    abar = np.cumprod(1.0 - betas)
    timesteps = np.arange(train_steps, dtype=np.int64)
    if respacing:
        timesteps = np.asarray(respaced_timesteps(respacing=respacing, train_steps=train_steps), dtype=np.int64)
        kept = abar[timesteps]
        betas = 1.0 - kept / np.concatenate(([1.0], kept[:-1]))
        abar = np.cumprod(1.0 - betas)
    return NoiseProcess(betas=betas, alphas_cumprod=abar, timesteps=timesteps)


def posterior(process: NoiseProcess) -> Posterior:
    """The posterior tables of `process`, for fixed and learned variances. Needs two levels at least."""
    check_count("levels of the noise process", process.betas.size, least=2)
    betas, abar = process.betas, process.alphas_cumprod
    before = np.concatenate((np.ones(1, abar.dtype), abar[:-1]))
    variance = betas * (1 - before) / (1 - abar)
    return Posterior(
        variance=variance,
        log_variance_clipped=np.log(np.concatenate((variance[1:2], variance[1:]))),
        fixed_large_variance=np.concatenate((variance[1:2], betas[1:])),
        x0_factor=betas * np.sqrt(before) / (1 - abar),
        state_factor=(1 - before) * np.sqrt(1 - betas) / (1 - abar),
    )


def _linspace32(first: float, last: float, count: int) -> NDArray[np.float32]:
    """torch's float32 linspace: from the nearer end, one rounding each (a third of numpy's differ)."""
    low, high = np.float32(first), np.float32(last)
    step = np.float64((high - low) / np.float32(max(count - 1, 1)))
    index = np.arange(count)
    up = np.float64(low) + step * index
    down = np.float64(high) - step * (count - 1 - index)
    return np.where(index < count / 2, up, down).astype(np.float32)


def _cosine_betas(count: int) -> NDArray[np.float64]:
    """min(1 - f((i+1)/T) / f(i/T), 0.999), f(u) = cos^2((u+0.008)/1.008 * pi/2); arXiv 2102.09672, eq. 17."""

    def signal(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    ratios = (signal((i + 1) / count) / signal(i / count) for i in range(count))
    return np.array([min(1 - ratio, MAX_BETA) for ratio in ratios], dtype=np.float64)


def _unknown_schedule(schedule: str, known: str) -> OptionError:
    return OptionError(
        "schedule",
        found=repr(schedule),
        expected=f"one of {known}",
        mend="Copy the name from the checkpoint's scheduler configuration or flags.",
    )
