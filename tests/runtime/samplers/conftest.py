"""The oracle of these tests: rows executed in plain float32 NumPy, and beside it the runtime's kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lqhq.kernels.schedule_step import schedule_step
from lqhq.runtime.row_step import row_coefficients
from lqhq.runtime.schedule import Schedule

DATA = Path(__file__).parents[2] / "data"
Arrays = dict[str, np.ndarray]
Replay = Callable[..., list[np.ndarray]]


def _load(name: str) -> Arrays:
    with np.load(DATA / name) as archive:
        return dict(archive)


def _start(schedule: Schedule, image: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
    return np.float32(schedule.start.c_img) * image + np.float32(schedule.start.c_noise) * np.asarray(noise, np.float32)


def _replay(
    schedule: Schedule,
    state: np.ndarray,
    preds: Sequence[np.ndarray],
    noises: Sequence[np.ndarray | float],
    variances: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """The state after each row, fed the stored outputs `preds`, draws `noises` and variance outputs."""
    f = np.float32
    states, history = [], []
    for i, row in enumerate(schedule.rows):
        value = f(row.p) * state + f(row.q) * preds[i]
        if row.clip is not None:
            value = value.clip(-f(row.clip), f(row.clip))
        history.insert(0, value)
        after = f(row.c_state) * state + f(row.c_pred) * preds[i]
        for factor, old in zip(row.c, history, strict=False):
            after = after + f(factor) * old
        if row.log_sigma is not None:
            assert variances is not None
            after = after + np.exp(f(row.log_sigma[0]) + f(row.log_sigma[1]) * variances[i]) * noises[i]
        elif row.sigma:
            after = after + f(row.sigma) * noises[i]
        assert after.dtype == np.float32
        state = after
        states.append(state)
    return states


def _kernel_replay(
    schedule: Schedule,
    state: np.ndarray,
    preds: Sequence[np.ndarray],
    noises: Sequence[np.ndarray | float],
    variances: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """The same through the runtime's kernel: the whole batch at once, history cut to the schedule's depth."""
    states, history = [], []
    for i, row in enumerate(schedule.rows):
        coefficients = np.repeat(row_coefficients(row, len(history))[None], len(state), axis=0)
        noise = np.broadcast_to(np.asarray(noises[i], np.float32), state.shape) if row.noisy else None
        var = variances[i] if row.log_sigma is not None and variances is not None else None
        state, value = schedule_step(state, preds[i], history, coefficients, noise, var)
        history = [value, *history][: schedule.depth]
        states.append(state)
    return states


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Arrays]:
    return _load


@pytest.fixture(scope="session")
def start_of() -> Callable[..., np.ndarray]:
    return _start


@pytest.fixture(scope="session")
def replay() -> Replay:
    return _replay


@pytest.fixture(scope="session", params=[_replay, _kernel_replay], ids=["oracle", "kernel"])
def each_replay(request: pytest.FixtureRequest) -> Replay:
    """The oracle and the runtime's own kernel, in turn."""
    replay: Replay = request.param
    return replay
