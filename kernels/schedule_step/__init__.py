"""One row of a schedule applied to a state: the only update rule of every sampler.

    v    = clip(p * state + q * pred, -clip, clip)
    next = c_state * state + c_pred * pred + c[0] * v + c[1] * v[-1] + ... + n * noise
    n    = sigma + exp(l0 + l1 * var)      (the second term only where `var` is given)

Coefficients are one vector per sample, `[N, COLUMNS + depth + 1]` float32, in this order: p, q, clip (inf for none),
c_state, c_pred, sigma, l0 (-inf for none), l1, then c[0], c[1], ... Samples of a batch may be at different rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.schedule_step.reference import step

__all__ = ["COLUMNS", "schedule_step"]

COLUMNS = 8
Array = NDArray[np.float32]


def schedule_step(
    state: Array,
    pred: Array,
    history: Sequence[Array],
    coefficients: Array,
    noise: Array | None = None,
    var: Array | None = None,
) -> tuple[Array, Array]:
    """The next state and this row's `v`, both `[N, C, H, W]` float32, new arrays (one array where they are equal).

    `state`, `pred`, `noise`, `var` and each of `history` (v[-1], v[-2], ...) are `[N, C, H, W]` float32;
    `coefficients` is as the module says. Raises `ValueError` when the shapes do not go together.
    """
    if coefficients.shape != (len(state), COLUMNS + 1 + len(history)):
        raise ValueError(
            f"coefficients: found shape {coefficients.shape}; "
            f"expected {(len(state), COLUMNS + 1 + len(history))} for {len(history)} earlier values"
        )
    for name, array in (("pred", pred), ("noise", noise), ("var", var), *(("history", v) for v in history)):
        if array is not None and array.shape != state.shape:
            raise ValueError(f"{name}: found shape {array.shape}; expected {state.shape} as the state")
    return step(state, pred, history, coefficients, noise, var)
