"""One table per start: the last 1, 2, 3, ... of the nominal steps, each by the checkpoint's own library's rules."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from lqhq.export.families.lq_ddpm.process import Process
from lqhq.export.families.lq_ddpm.settings import Plan
from lqhq.runtime.samplers.ddim import ddim_schedule
from lqhq.runtime.samplers.ddpm import ddpm_schedule
from lqhq.runtime.samplers.diffusion import NoiseProcess
from lqhq.runtime.samplers.path import Path, ddim_path, ddpm_path, guided_path, unipc_path
from lqhq.runtime.samplers.timesteps import respaced_timesteps
from lqhq.runtime.samplers.unipc import unipc_schedule
from lqhq.runtime.schedule import Schedule

__all__ = ["path_of", "respaced", "schedules"]


def schedules(process: Process, plan: Plan) -> dict[str, Schedule]:
    """By name, `unipc-01` and so on; the table of that number has as many rows.

    Raises `OptionError` or `ScheduleError` for numbers of steps that the process cannot be cut into.
    """
    digits = max(2, len(str(plan.starts)))
    return {f"{plan.sampler}-{n:0{digits}}": _schedule(process, plan, n) for n in range(1, plan.starts + 1)}


def _schedule(process: Process, plan: Plan, rows: int) -> Schedule:
    path = path_of(process, plan, rows)
    match plan.sampler:
        case "unipc":
            return unipc_schedule(path, prediction=process.prediction)
        case "ddpm":
            return ddpm_schedule(path, prediction=process.prediction, variance=process.variance, clip=plan.clip)
        case "ddim":
            # diffusers takes the noise as it was predicted, the others from the clipped x0.
            again = process.library != "diffusers"
            return ddim_schedule(path, eta=plan.eta, prediction=process.prediction, clip=plan.clip, rederive_eps=again)


def path_of(process: Process, plan: Plan, rows: int) -> Path:
    """The noise levels of the last `rows` nominal steps, and what the network is fed at each."""
    path = _levels(process, plan, rows)
    return path if process.t_scale == 1.0 else dataclasses.replace(path, t=path.t * process.t_scale)


def _levels(process: Process, plan: Plan, rows: int) -> Path:
    steps = plan.steps
    strength = min(1.0, (rows + 0.5) / steps)  # int(steps * strength) is rows, whatever is rounded
    if plan.sampler == "unipc":
        return unipc_path(
            process.levels,
            steps=steps,
            strength=strength,
            spacing=plan.spacing,
            offset=process.offset,
            final=plan.final,
        )
    if process.library == "guided-diffusion":
        return guided_path(respaced(process.levels, plan.respacing), first=rows - 1)
    if process.library == "lucidrains":
        return _lucidrains_path(process.levels, plan, rows)
    if plan.sampler == "ddpm":
        return ddpm_path(process.levels, steps=steps, strength=strength, spacing=plan.spacing, offset=process.offset)
    return ddim_path(
        process.levels,
        steps=steps,
        strength=strength,
        spacing=plan.spacing,
        offset=process.offset,
        end_clean=process.end_clean,
    )


def respaced(levels: NoiseProcess, respacing: str) -> NoiseProcess:
    """guided-diffusion's process of the kept timesteps: new betas, 1 - abar(t_i) / abar(t_(i-1))."""
    kept = np.asarray(respaced_timesteps(respacing=respacing, train_steps=levels.betas.size), np.int64)
    abar = levels.alphas_cumprod[kept]
    betas = 1.0 - abar / np.concatenate(([1.0], abar[:-1]))
    return NoiseProcess(betas=betas, alphas_cumprod=np.cumprod(1.0 - betas), timesteps=kept)


def _lucidrains_path(levels: NoiseProcess, plan: Plan, rows: int) -> Path:
    """Every timestep for DDPM; for DDIM int(linspace(-1, T - 1, S + 1)) downward, whose last call ends clean."""
    total = levels.betas.size
    if plan.sampler == "ddpm":
        return guided_path(levels, first=rows - 1)
    # torch's, in float32, as that code base cuts them: NumPy's may fall to the other side of a whole number.
    times = torch.linspace(-1, total - 1, plan.steps + 1).int().numpy()[::-1][-rows - 1 :]
    abar = np.append(levels.alphas_cumprod, levels.alphas_cumprod.dtype.type(1))  # -1: the clean image
    return Path(t=times[:-1].astype(np.float64), abar=abar[times[:-1]], abar_next=abar[times[1:]])
