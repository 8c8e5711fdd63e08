"""The finished image by the samplers' own formulas, step by step in torch: what the bundle's rows are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lqhq.export.families.lq_ddpm.process import Process
from lqhq.export.families.lq_ddpm.settings import Plan
from lqhq.export.family import Arrays
from lqhq.runtime.samplers.path import Path

__all__ = ["Call", "sample"]

Call = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]  # (state, t [N]) to pred and, where learned, var


def sample(call: Call, image: Tensor, path: Path, process: Process, plan: Plan, noise: Arrays) -> Tensor:
    """`image` `[N, C, H, W]`, noised to the first level of `path` and denoised along it; not clamped.

    `noise` holds `start` `[C, H, W]`, and `step` `[rows, C, H, W]` where the sampler draws some.
    """
    levels = [(float(t), float(a), float(b)) for t, a, b in zip(path.t, path.abar, path.abar_next, strict=True)]
    first = levels[0][1]
    x = math.sqrt(first) * image + math.sqrt(1 - first) * torch.from_numpy(noise["start"])
    if plan.sampler == "unipc":
        return _unipc(call, x, levels, process)
    for index, (t, abar, after) in enumerate(levels):
        pred, var = _called(call, x, t)
        x0 = _x0(x, pred, abar, process)
        if plan.clip is not None:
            x0 = x0.clamp(-plan.clip, plan.clip)
        drawn = torch.from_numpy(noise["step"][index]) if "step" in noise else torch.zeros(())
        if plan.sampler == "ddpm":
            x = _ancestral(x, x0, var, drawn if t > 0 else torch.zeros(()), (abar, after), process)
        else:
            eps = _eps(x, pred, x0, abar, process)
            deviation = plan.eta * math.sqrt((1 - after) / (1 - abar) * (1 - abar / after))
            x = math.sqrt(after) * x0 + math.sqrt(max(1 - after - deviation**2, 0.0)) * eps + deviation * drawn
    return x


def _called(call: Call, x: Tensor, t: float) -> tuple[Tensor, Tensor | None]:
    return call(x, torch.full((len(x),), t, dtype=torch.float32))


def _x0(x: Tensor, pred: Tensor, abar: float, process: Process) -> Tensor:
    a, s = math.sqrt(abar), math.sqrt(1 - abar)
    if process.prediction == "sample":
        return pred
    return (x - s * pred) / a if process.prediction == "epsilon" else a * x - s * pred


def _eps(x: Tensor, pred: Tensor, x0: Tensor, abar: float, process: Process) -> Tensor:
    """diffusers' as it was predicted, the others' from the clipped x0."""
    a, s = math.sqrt(abar), math.sqrt(1 - abar)
    if process.library != "diffusers" or process.prediction == "sample":
        clean = pred if process.library == "diffusers" else x0
        return (x - a * clean) / s
    return pred if process.prediction == "epsilon" else a * pred + s * x


def _ancestral(
    x: Tensor, x0: Tensor, var: Tensor | None, drawn: Tensor, levels: tuple[float, float], process: Process
) -> Tensor:
    """DDPM's posterior: its mean, and its variance fixed or between two bounds."""
    abar, after = levels
    alpha = abar / after
    beta = 1 - alpha
    small = max((1 - after) / (1 - abar) * beta, 1e-20)
    mean = math.sqrt(after) * beta / (1 - abar) * x0 + math.sqrt(alpha) * (1 - after) / (1 - abar) * x
    if process.variance != "learned_range":
        return mean + math.sqrt(beta if process.variance == "fixed_large" else small) * drawn
    assert var is not None
    share = (var + 1) / 2
    return mean + torch.exp((share * math.log(beta) + (1 - share) * math.log(small)) / 2) * drawn


def _unipc(call: Call, x: Tensor, levels: list[tuple[float, float, float]], process: Process) -> Tensor:
    """UniPC of order 2 with its corrector (arXiv 2302.04867, algorithms 5 and 6, B2), as diffusers runs it."""
    abars = [abar for _, abar, _ in levels] + [levels[-1][2]]
    a, s = [math.sqrt(one) for one in abars], [math.sqrt(1 - one) for one in abars]
    log = [math.log(a[i] / s[i]) if s[i] else math.inf for i in range(len(abars))]
    clean: list[Tensor] = []
    before, order = x, 0
    for i, (t, abar, _) in enumerate(levels):
        pred, _var = _called(call, x, t)
        clean.append(_x0(x, pred, abar, process))
        if i:
            x = _corrected(before, clean, (a, s, log), i, order)
        order = min(2, len(levels) - i, i + 1)
        h = log[i + 1] - log[i]
        b = math.expm1(-h)
        before, m = x, clean[i]
        x = s[i + 1] / s[i] * before - a[i + 1] * b * m
        if order == 2:
            r = (log[i - 1] - log[i]) / h
            x = x - a[i + 1] * b * 0.5 * (clean[i - 1] - m) / r
    return x


def _corrected(
    before: Tensor, clean: list[Tensor], tables: tuple[list[float], list[float], list[float]], i: int, order: int
) -> Tensor:
    """The state at level `i` again, from the one at `i` - 1, now that x0 at `i` is known."""
    a, s, log = tables
    h = log[i] - log[i - 1]
    b = math.expm1(-h)
    m = clean[i - 1]
    plain = s[i] / s[i - 1] * before - a[i] * b * m
    if order == 1:
        return plain - a[i] * b * 0.5 * (clean[i] - m)
    r = (log[i - 2] - log[i - 1]) / h
    g1 = b / -h - 1
    g2 = g1 / -h - 0.5
    system = torch.tensor([[1.0, 1.0], [r, 1.0]], dtype=torch.float64)
    first, last = torch.linalg.solve(system, torch.tensor([g1 / b, 2 * g2 / b], dtype=torch.float64)).tolist()
    more: Tensor = first * (clean[i - 2] - m) / r + last * (clean[i] - m)
    return plain - a[i] * b * more
