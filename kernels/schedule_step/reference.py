"""The schedule step in plain NumPy, float32 throughout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["step"]

Array = NDArray[np.float32]


def _accumulate(total: Array | None, factor: Array, value: Array) -> Array | None:
    """`total + factor * value`; a factor of zero in every sample costs nothing."""
    if not factor.any():
        return total
    term = factor * value
    return term if total is None else np.add(total, term, out=total)


def step(
    state: Array,
    pred: Array,
    history: Sequence[Array],
    coefficients: Array,
    noise: Array | None,
    var: Array | None,
) -> tuple[Array, Array]:
    """See the package. The order of the additions is fixed, so equal inputs give equal bytes."""
    p, q, clip, c_state, c_pred, sigma, l0, l1, *c = (
        np.ascontiguousarray(column)[:, None, None, None] for column in coefficients.T
    )
    v = _accumulate(_accumulate(None, p, state), q, pred)
    if v is None:
        v = np.zeros_like(state)
    if np.isfinite(clip).any():
        np.clip(v, -clip, clip, out=v)
    if noise is None and (c[0] == 1).all() and not any(factor.any() for factor in (c_state, c_pred, *c[1:])):
        return v, v  # straight to x0, as every one-step schedule goes: no second pass over memory
    total = _accumulate(_accumulate(None, c_state, state), c_pred, pred)
    for factor, value in zip(c, (v, *history), strict=True):
        total = _accumulate(total, factor, value)
    if noise is not None:
        level = sigma if var is None else sigma + np.exp(l0 + l1 * var)
        total = _accumulate(total, level, noise)
    return (np.zeros_like(state) if total is None else total), v
