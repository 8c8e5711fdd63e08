"""The one-step sampler: the image is the network's x0 at one timestep."""

from __future__ import annotations

from lqhq.runtime.samplers.diffusion import NoiseProcess
from lqhq.runtime.samplers.prediction import Prediction, x0_factors
from lqhq.runtime.samplers.timesteps import check_count
from lqhq.runtime.schedule import Row, Schedule, Start

__all__ = ["one_step_schedule"]


def one_step_schedule(
    process: NoiseProcess, *, level: int, prediction: Prediction = "epsilon", clip: float | None = None
) -> Schedule:
    """x0 from one call at `level` of `process`, the state being the image itself: no noise is added.

    The last step of a one-step DDPM: alpha of the next time is 1, so the mean is x0 and the variance zero.
    OSEDiff runs it at level 999 of the SD-2.1 process, where x0 = 14.649*state - 14.615*eps: errors of eps
    grow as much.
    """
    check_count("level", level, least=0, most=process.betas.size - 1)
    p, q = x0_factors(prediction, process.alphas_cumprod[level : level + 1])
    t = float(process.timesteps[level])
    row = Row(t=t, p=float(p[0]), q=float(q[0]), clip=clip, c_state=0.0, c=(1.0,))
    return Schedule(start=Start(), rows=(row,), about=f"one step at t = {t:g}, {prediction}")
