"""DDPM sampling (Ho et al., arXiv 2006.11239, eq. 7; learned variance: Nichol et al., arXiv 2102.09672).

With abar' the next level's signal power, alpha = abar/abar' and beta = 1 - alpha of the step:

    next = sqrt(alpha)*(1 - abar')/(1 - abar) * state + sqrt(abar')*beta/(1 - abar) * x0 + sigma*noise
    fixed_small    sigma^2 = var = (1 - abar')/(1 - abar) * beta
    fixed_large    sigma^2 = beta
    learned_range  ln sigma^2 = f*ln beta + (1 - f)*ln var, f = (w + 1)/2, w the network's variance output
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lqhq.runtime.errors import OptionError
from lqhq.runtime.samplers.path import Path
from lqhq.runtime.samplers.prediction import Prediction, x0_factors
from lqhq.runtime.schedule import Row, Schedule

__all__ = ["Variance", "ddpm_schedule"]

Variance = Literal["fixed_small", "fixed_large", "learned_range"]
VARIANCES = ("fixed_small", "fixed_large", "learned_range")
LEAST_VARIANCE = 1e-20  # as in diffusers; keeps the logarithm finite where a step ends at the clean image


def ddpm_schedule(
    path: Path,
    *,
    prediction: Prediction = "epsilon",
    variance: Variance = "fixed_small",
    clip: float | None = 1.0,
) -> Schedule:
    """Ancestral sampling along `path` (`ddpm_path` of diffusers, `guided_path` of guided-diffusion).

    `clip` bounds x0 to [-clip, clip]; both libraries clip at 1 by default. No noise is added at t = 0, as
    in both. `learned_range` rows carry `log_sigma`, to be used with the graph's second output as it is.
    """
    if variance not in VARIANCES:
        raise OptionError(
            "variance",
            found=repr(variance),
            expected=", ".join(VARIANCES),
            mend="diffusers: see variance_type; guided-diffusion: learned_range or fixed_large.",
        )
    abar, after = path.abar, path.abar_next
    beta = 1 - abar / after
    p, q = x0_factors(prediction, abar)
    c_state = np.sqrt(abar / after) * (1 - after) / (1 - abar)
    c_0 = np.sqrt(after) * beta / (1 - abar)
    small = np.maximum((1 - after) / (1 - abar) * beta, LEAST_VARIANCE)
    sigma = np.sqrt(beta if variance == "fixed_large" else small)
    log_beta, log_small = np.log(beta), np.log(small)
    rows = []
    for i, t in enumerate(path.t.tolist()):
        learned = variance == "learned_range" and t > 0
        log_sigma = (float(log_beta[i] + log_small[i]) / 4, float(log_beta[i] - log_small[i]) / 4)
        rows.append(
            Row(
                t=t,
                p=float(p[i]),
                q=float(q[i]),
                clip=clip,
                c_state=float(c_state[i]),
                c=(float(c_0[i]),),
                sigma=0.0 if learned or t == 0 else float(sigma[i]),
                log_sigma=log_sigma if learned else None,
            )
        )
    return Schedule(start=path.start, rows=tuple(rows), about=f"DDPM, {len(rows)} calls, {prediction}, {variance}")
