"""DDIM sampling (Song, Meng, Ermon, arXiv 2010.02502, eq. 12 and 16), as two libraries do it.

    sigma = eta*sqrt((1 - abar')/(1 - abar) * (1 - abar/abar')),  d = sqrt(1 - abar' - sigma^2)
    next  = sqrt(abar')*x0 + d*eps + sigma*noise,  x0 clipped

diffusers takes eps straight from the prediction, guided-diffusion re-derives it from the clipped x0. The
two agree where nothing is clipped.
"""

from __future__ import annotations

import math

import numpy as np

from lqhq.runtime.errors import OptionError
from lqhq.runtime.samplers.path import Path
from lqhq.runtime.samplers.prediction import Prediction, eps_factors, x0_factors
from lqhq.runtime.schedule import Row, Schedule

__all__ = ["ddim_schedule"]


def ddim_schedule(
    path: Path,
    *,
    eta: float = 0.0,
    prediction: Prediction = "epsilon",
    clip: float | None = 1.0,
    rederive_eps: bool = False,
) -> Schedule:
    """DDIM along `path` (`ddim_path` of diffusers; `guided_path` with `rederive_eps` for guided-diffusion).

    `eta` in [0, 1] goes from deterministic to DDPM's noise. Without `rederive_eps` the rows use `c_pred`.
    """
    if not (math.isfinite(eta) and 0 <= eta <= 1):
        raise OptionError("eta", found=str(eta), expected="a number in [0, 1]", mend="0 is deterministic DDIM.")
    abar, after = path.abar, path.abar_next
    sigma = eta * np.sqrt((1 - after) / (1 - abar) * (1 - abar / after))
    direction = np.sqrt(np.maximum(1 - after - sigma**2, 0))
    p, q = x0_factors(prediction, abar)
    if rederive_eps:
        c_state = direction / np.sqrt(1 - abar)
        c_pred = np.zeros_like(abar)
        c_0 = np.sqrt(after) - direction * np.sqrt(abar) / np.sqrt(1 - abar)
    else:
        of_state, of_pred = eps_factors(prediction, abar)
        c_state, c_pred, c_0 = direction * of_state, direction * of_pred, np.sqrt(after)
    rows = tuple(
        Row(
            t=float(path.t[i]),
            p=float(p[i]),
            q=float(q[i]),
            clip=clip,
            c_state=float(c_state[i]),
            c_pred=float(c_pred[i]),
            c=(float(c_0[i]),),
            sigma=float(sigma[i]),
        )
        for i in range(abar.size)
    )
    return Schedule(start=path.start, rows=rows, about=f"DDIM, {len(rows)} calls, {prediction}, eta {eta:g}")
