"""What a diffusion network predicts, as linear readings of (state, pred): its x0 and its noise.

With a = sqrt(abar) and s = sqrt(1 - abar), state = a*x0 + s*eps, and

    epsilon        pred = eps              x0 = (state - s*pred)/a      eps = pred
    sample         pred = x0               x0 = pred                    eps = (state - a*pred)/s
    v_prediction   pred = a*eps - s*x0     x0 = a*state - s*pred        eps = s*state + a*pred
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lqhq.runtime.errors import OptionError
from lqhq.runtime.samplers.diffusion import Table

__all__ = ["Prediction", "eps_factors", "x0_factors"]

Prediction = Literal["epsilon", "sample", "v_prediction"]


def x0_factors(prediction: Prediction, abar: Table) -> tuple[Table, Table]:
    """(p, q) of x0 = p*state + q*pred, each of `abar`'s shape and dtype."""
    a, s = np.sqrt(abar), np.sqrt(1 - abar)
    match prediction:
        case "epsilon":
            return 1 / a, -s / a
        case "sample":
            return np.zeros_like(a), np.ones_like(a)
        case "v_prediction":
            return a, -s
        case _:
            raise _unknown(prediction)


def eps_factors(prediction: Prediction, abar: Table) -> tuple[Table, Table]:
    """(state's factor, pred's factor) of eps, each of `abar`'s shape and dtype."""
    a, s = np.sqrt(abar), np.sqrt(1 - abar)
    match prediction:
        case "epsilon":
            return np.zeros_like(a), np.ones_like(a)
        case "sample":
            return 1 / s, -a / s
        case "v_prediction":
            return s, a
        case _:
            raise _unknown(prediction)


def _unknown(prediction: str) -> OptionError:
    return OptionError(
        "prediction",
        found=repr(prediction),
        expected="epsilon, sample or v_prediction",
        mend="Copy prediction_type from the checkpoint's scheduler configuration.",
    )
