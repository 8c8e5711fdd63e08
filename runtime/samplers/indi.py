"""InDI sampling (Delbracio, Milanfar, arXiv 2303.11435, algorithm 1), with the noise rules of public code.

Going from t to u < t with F the network's x0:  next = (1 - u/t)*F + (u/t)*state + sigma*noise, and sigma is

    none       0; the start has no noise either
    const      0; the start adds eps (the paper's simple form)
    brownian   eps*sqrt(u*(t-u)/t); the start adds eps (eps_t = eps/sqrt(t) in u*sqrt(eps_u^2 - eps_t^2))
    renoise    eps*u; the start adds eps (scSplit's later code, not the paper)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from lqhq.runtime.errors import OptionError, ScheduleError
from lqhq.runtime.samplers.timesteps import check_count
from lqhq.runtime.schedule import Row, Schedule, Start

__all__ = ["NoiseRule", "indi_schedule"]

NoiseRule = Literal["none", "const", "brownian", "renoise"]
RULES = ("none", "const", "brownian", "renoise")


def indi_schedule(
    *,
    steps: int | None = None,
    noise: NoiseRule = "none",
    eps: float = 0.0,
    clip: float | None = None,
    grid: Sequence[float] | None = None,
) -> Schedule:
    """InDI in `steps` uniform steps, or over `grid` = 1 > ... > 0 (in InDI's own t, one more than steps).

    `eps` is in units of the network's pixel range; `clip` bounds F to [-clip, clip]. `steps=1` is the
    plain regression F(y, 1). Raises `OptionError` for impossible options, `ScheduleError` for a grid that
    does not fall strictly from 1 to 0.
    """
    _check_noise(noise, eps)
    times = _grid(steps, grid)
    rows = []
    for t, u in itertools.pairwise(times):
        weight = (t - u) / t  # exact fractions: 1/k of a uniform grid is the float nearest to 1/k
        sigma = {"brownian": eps * math.sqrt(u * weight), "renoise": eps * float(u)}.get(noise, 0.0)
        rows.append(Row(t=float(t), clip=clip, c_state=float(1 - weight), c=(float(weight),), sigma=sigma))
    about = f"InDI, {len(rows)} step{'s' if len(rows) > 1 else ''}, noise {noise}" + (f", eps {eps:g}" if eps else "")
    return Schedule(start=Start(c_noise=eps), rows=tuple(rows), about=about)


def _check_noise(noise: str, eps: float) -> None:
    if noise not in RULES:
        raise OptionError("noise", found=repr(noise), expected=", ".join(RULES), mend="Choose one of these rules.")
    if not (math.isfinite(eps) and eps >= 0):
        raise OptionError("eps", found=str(eps), expected="a number of 0 or more", mend="The usual value is 0.01.")
    if noise == "none" and eps:
        raise OptionError(
            "eps",
            found=f"{eps} with noise='none'",
            expected="0",
            mend="Choose noise='const', 'brownian' or 'renoise', or leave eps out.",
        )


def _grid(steps: int | None, grid: Sequence[float] | None) -> list[Fraction]:
    if (steps is None) == (grid is None):
        raise OptionError(
            "steps, grid",
            found=f"steps={steps}, grid {'missing' if grid is None else 'given'}",
            expected="exactly one of the two",
            mend="Give steps for a uniform grid, or grid for your own times.",
        )
    if steps is not None:
        check_count("steps", steps)
        return [Fraction(k, steps) for k in range(steps, -1, -1)]
    times = [Fraction(float(time)) for time in grid or () if math.isfinite(time)]
    falling = all(t > u for t, u in itertools.pairwise(times))
    if len(times) < 2 or len(times) != len(grid or ()) or times[0] != 1 or times[-1] != 0 or not falling:
        raise ScheduleError(
            "grid",
            found=str(list(grid or ())),
            expected="finite times that fall strictly from 1 to 0",
            mend="For example [1, 0.5, 0.2, 0].",
        )
    return times
