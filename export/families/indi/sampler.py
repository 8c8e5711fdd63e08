"""InDI's sampling: the rows for the bundle, and the same formula once more, plainly in torch, as the oracle."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from lqhq.export.family import Arrays
from lqhq.export.settings import Sampling
from lqhq.runtime.samplers.indi import indi_schedule
from lqhq.runtime.schedule import Schedule

__all__ = ["sample", "schedule"]


def schedule(sampling: Sampling) -> Schedule:
    """The rows of a completed sampling. Raises `OptionError` or `ScheduleError` for impossible ones."""
    return indi_schedule(
        steps=sampling.steps,
        grid=sampling.grid,
        noise=sampling.noise or "none",
        eps=sampling.eps or 0.0,
        clip=sampling.bound,
    )


def sample(network: Callable[[Tensor, Tensor], Tensor], y: Tensor, sampling: Sampling, noise: Arrays) -> Tensor:
    """Algorithm 1 of arXiv 2303.11435 on `y` `[N, C, H, W]` in the network's range; `network(x, t [N])`.

    From t to s: x <- F + (s/t)(x - F) + sigma z, the start y + eps z; sigma is eps sqrt(s (t - s) / t) for
    brownian (t - s times sqrt of eps_s^2 - eps_t^2 with eps_t = eps / sqrt(t)), eps s for renoise, else 0.
    `noise` holds `start` `[C, H, W]` and `step` `[steps, C, H, W]` where the rule needs them.
    """
    times = sampling.grid or [(sampling.steps - k) / sampling.steps for k in range((sampling.steps or 0) + 1)]  # type: ignore[operator]
    eps, rule, x = sampling.eps or 0.0, sampling.noise, y
    if rule != "none" and eps:
        x = y + eps * torch.from_numpy(noise["start"])
    for index, (t, s) in enumerate(pairwise(times)):
        clean = network(x, torch.full((len(x),), t, dtype=torch.float32))
        if sampling.bound is not None:
            clean = clean.clamp(-sampling.bound, sampling.bound)
        sigma = {"brownian": eps * math.sqrt(s * (t - s) / t), "renoise": eps * s}.get(rule or "none", 0.0)
        x = clean + (s / t) * (x - clean)
        if sigma:
            x = x + sigma * torch.from_numpy(noise["step"][index])
    return x
