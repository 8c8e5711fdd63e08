"""Rows of a schedule as the kernel's coefficient vectors, and one step of one box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.schedule_step import schedule_step
from lqhq.runtime.geometry import Box
from lqhq.runtime.noise import NoiseField
from lqhq.runtime.schedule import Row, Schedule

__all__ = ["row_coefficients", "start_state", "step_box"]

Array = NDArray[np.float32]


def row_coefficients(row: Row, depth: int) -> Array:
    """`[COLUMNS + depth + 1]` float32, in the order that `lqhq.kernels.schedule_step` documents."""
    l0, l1 = row.log_sigma or (-np.inf, 0.0)  # exp(-inf): no learned noise, also beside rows that have it
    clip = np.inf if row.clip is None else row.clip
    c = [*row.c, *[0.0] * (depth + 1 - len(row.c))]
    numbers = [row.p, row.q, clip, row.c_state, row.c_pred, row.sigma, l0, l1, *c[: depth + 1]]
    return np.array(numbers, np.float32)


def start_state(schedule: Schedule, image: Array, noise: NoiseField, box: Box) -> Array:
    """`c_img * image + c_noise * noise`, `[C, h, w]`; `image` is the prepared image in `box`."""
    state = image if schedule.start.c_img == 1 else np.float32(schedule.start.c_img) * image
    if schedule.start.c_noise == 0:
        return state
    return state + np.float32(schedule.start.c_noise) * noise.start(box)


def step_box(
    row: Row,
    index: int,
    state: Array,
    pred: Array,
    var: Array | None,
    history: Sequence[Array],
    noise: NoiseField,
    box: Box,
) -> tuple[Array, Array]:
    """Apply row `index` to one box: the next state and `v`, `[C, h, w]`. `history` has the latest `v` first."""
    drawn = noise.step(index, box)[None] if row.noisy else None
    after, v = schedule_step(
        state[None],
        pred[None],
        [value[None] for value in history],
        row_coefficients(row, len(history))[None],
        drawn,
        var[None] if row.log_sigma is not None and var is not None else None,
    )
    return after[0], v[0]
