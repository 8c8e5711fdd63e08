"""UniPC of order 2, variant B2, on x0 predictions (Zhao et al., arXiv 2302.04867), as one row per call.

With a = sqrt(abar), s = sqrt(1 - abar), l = ln(a/s), call i going from level i to i+1:
h = l_(i+1) - l_i, B = expm1(-h), E = s_(i+1)/s_i, r = (l_(i-1) - l_i)/h.

    predictor:  next = E*state + f0*x0 + f1*x0[-1];  order 2: f1 = -a_(i+1)*B/(2r), f0 = -a_(i+1)*B - f1
    corrector:  state := state + k0*x0 + (k1 - f0')*x0[-1] + (k2 - f1')*x0[-2]

A prime means the step before. The corrector replaces `state` once x0 at it is known. It and the predictor
share the factor E' on the older state, which is why their difference holds x0 predictions only, and the two
together are one linear row. Nothing is divided by E, so a final noise of zero is exact too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lqhq.runtime.errors import ScheduleError
from lqhq.runtime.samplers.path import Path
from lqhq.runtime.samplers.prediction import Prediction, x0_factors
from lqhq.runtime.schedule import Row, Schedule

__all__ = ["unipc_schedule"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """One predictor step: its numbers named as in the module's docstring, and its order."""

    a_next: float
    b: float
    h: float
    r: float
    order: int
    f0: float
    f1: float


def unipc_schedule(path: Path, *, prediction: Prediction = "epsilon") -> Schedule:
    """UniPC along `path` (from `unipc_path`): x0 is not clipped, and no noise is added after the start.

    The first and the last call are of order 1, also in a run that starts part of the way. Raises
    `ScheduleError` for a path whose calls do not join or whose timesteps repeat (the library returns NaN
    for those).
    """
    repeated = np.flatnonzero(path.abar_next == path.abar)
    if repeated.size:
        raise ScheduleError(
            "path",
            found=f"call {repeated[0]} at t = {path.t[repeated[0]]:g} ends at the noise level it starts from",
            expected="less noise after every call: a multistep sampler divides by the difference",
            mend="Take fewer steps or another spacing: timesteps repeat when steps near the trained number.",
        )
    if not np.array_equal(path.abar_next[:-1], path.abar[1:]):
        raise ScheduleError(
            "path",
            found="a call that starts elsewhere than the call before it ended",
            expected="joined noise levels: a multistep sampler looks back",
            mend="Build the path with unipc_path.",
        )
    abar = np.append(path.abar, path.abar_next[-1]).astype(np.float64)
    a, s = np.sqrt(abar), np.sqrt(1 - abar)
    with np.errstate(divide="ignore"):
        level = np.log(a) - np.log(s)  # infinite at a clean end, where only B = -1 is taken from it
    p, q = x0_factors(prediction, abar[:-1])
    rows: list[Row] = []
    before: _Step | None = None
    for i in range(path.abar.size):
        order = min(2, path.abar.size - i, i + 1)
        step = _predictor(float(a[i + 1]), level[max(i - 1, 0) : i + 2], order)
        ratio = float(s[i + 1] / s[i])
        k = _corrector(before) if before else (0.0, 0.0, 0.0)
        c = (step.f0 + ratio * k[0], step.f1 + ratio * k[1], ratio * k[2])
        rows.append(Row(t=float(path.t[i]), p=float(p[i]), q=float(q[i]), c_state=ratio, c=c[: min(i, 2) + 1]))
        before = step
    return Schedule(start=path.start, rows=tuple(rows), about=f"UniPC order 2, {len(rows)} calls, {prediction}")


def _predictor(a_next: float, level: np.ndarray, order: int) -> _Step:
    """`level`: l of the level before (where there is one), of this one and of the next."""
    h = float(level[-1] - level[-2])
    b = math.expm1(-h)
    r = float(level[0] - level[1]) / h if level.size == 3 else 0.0
    f1 = -a_next * b / (2 * r) if order == 2 else 0.0
    return _Step(a_next=a_next, b=b, h=h, r=r, order=order, f0=-a_next * b - f1, f1=f1)


def _corrector(step: _Step) -> tuple[float, float, float]:
    """What correcting `step`'s result adds: the factors of x0, x0[-1], x0[-2] of the call after it."""
    full = -step.a_next * step.b
    if step.order == 1:
        k0, k2 = full / 2, 0.0  # the library fixes rho = 1/2 here instead of solving
    else:
        g1 = step.b / -step.h - 1
        g2 = g1 / -step.h - 0.5
        first, second = g1 / step.b, 2 * g2 / step.b
        rho_1 = (second - first) / (step.r - 1)  # solves rho_1 + rho_2 = first, r*rho_1 + rho_2 = second
        k0, k2 = full * (first - rho_1), full * rho_1 / step.r
    k1 = full - k0 - k2
    return k0, k1 - step.f0, k2 - step.f1
