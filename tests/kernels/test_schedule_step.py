"""The schedule step against a scalar oracle in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lqhq.kernels.schedule_step import COLUMNS, schedule_step

SHAPE = (3, 2, 5, 7)


def arrays(count: int, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.standard_normal(SHAPE).astype(np.float32) for _ in range(count)]


def oracle(state, pred, history, row, noise, var):
    """One pixel, plain Python: the formula of the package's docstring."""
    p, q, clip, c_state, c_pred, sigma, l0, l1, *c = (float(number) for number in row)
    v = min(max(p * state + q * pred, -clip), clip)
    level = sigma if var is None else sigma + math.exp(l0 + l1 * var)
    past = sum(factor * value for factor, value in zip(c, [v, *history], strict=True))
    return c_state * state + c_pred * pred + past + level * noise, v


def random_rows(depth: int) -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((SHAPE[0], COLUMNS + 1 + depth)).astype(np.float32)
    rows[:, 2] = [np.inf, 0.5, 1.0]
    rows[1, 6] = -np.inf  # a row without learned noise beside rows that have it
    return rows


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("learned", [False, True])
def test_every_pixel_follows_the_formula(depth, learned):
    state, pred, noise, var, *history = arrays(4 + depth)
    rows = random_rows(depth)
    after, v = schedule_step(state, pred, history, rows, noise, var if learned else None)
    for at in np.ndindex(SHAPE):
        past = [value[at] for value in history]
        expected = oracle(state[at], pred[at], past, rows[at[0]], noise[at], var[at] if learned else None)
        assert (after[at], v[at]) == pytest.approx(expected, rel=1e-5, abs=2e-5)
    assert after.dtype == v.dtype == np.float32


def test_a_sample_does_not_depend_on_its_batch():
    state, pred, noise, past = arrays(4)
    rows = random_rows(1)
    together, _ = schedule_step(state, pred, [past], rows, noise)
    for index in range(SHAPE[0]):
        part = slice(index, index + 1)
        alone, _ = schedule_step(state[part], pred[part], [past[part]], rows[part], noise[part])
        assert alone.tobytes() == together[part].tobytes()


def test_nothing_is_changed_in_place():
    state, pred, noise, past = arrays(4)
    kept = [array.copy() for array in (state, pred, noise, past)]
    schedule_step(state, pred, [past], random_rows(1), noise)
    for array, before in zip((state, pred, noise, past), kept, strict=True):
        assert np.array_equal(array, before)


def test_rows_of_zeros_give_zeros():
    state, pred = arrays(2)
    after, v = schedule_step(state, pred, [], np.zeros((SHAPE[0], COLUMNS + 1), np.float32))
    assert not after.any()
    assert not v.any()


def test_shapes_that_do_not_go_together_are_refused():
    state, pred = arrays(2)
    with pytest.raises(ValueError, match="coefficients: found shape"):
        schedule_step(state, pred, [], np.zeros((SHAPE[0], COLUMNS), np.float32))
    with pytest.raises(ValueError, match="pred: found shape"):
        schedule_step(state, pred[:, :1], [], np.zeros((SHAPE[0], COLUMNS + 1), np.float32))


def test_a_planted_fault_is_seen():
    state, pred, noise = arrays(3)
    rows = random_rows(0)
    right, _ = schedule_step(state, pred, [], rows, noise)
    rows[1, 3] += 1e-3  # c_state of one sample
    wrong, _ = schedule_step(state, pred, [], rows, noise)
    assert np.abs(right - wrong).max() > 1e-4
