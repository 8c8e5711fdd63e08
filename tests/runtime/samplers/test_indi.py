"""InDI rows against the golden trajectories, with the stored network outputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lqhq.runtime.errors import OptionError, ScheduleError
from lqhq.runtime.samplers.indi import indi_schedule

TOLERANCE = 1e-5
RUNS = {
    "f_indiunet.traj_none_N5": {"steps": 5},
    "f_sr3.traj_const_N5_eps0.01": {"steps": 5, "noise": "const", "eps": 0.01, "clip": 1.0},
    "f_diffusers.traj_brownian_N5_eps0.01": {"steps": 5, "noise": "brownian", "eps": 0.01},
    "f_sr3.traj_renoise_N5_eps0.01": {"steps": 5, "noise": "renoise", "eps": 0.01},
}


def _error(run, schedule, start_of, replay):
    first = start_of(schedule, run["y"], run.get("noise_init", 0.0))
    assert np.abs(first - run["x_1"]).max() <= 1e-7
    noises = run.get("noise_step", np.zeros_like(run["xs"]))
    return np.abs(np.stack(replay(schedule, first, run["preds"], noises)) - run["xs"]).max()


@pytest.mark.parametrize("name", RUNS)
def test_golden_trajectory(golden, start_of, each_replay, name):
    run, schedule = golden(f"indi-tiny/{name}.npz"), indi_schedule(**RUNS[name])
    np.testing.assert_allclose([row.t for row in schedule.rows], run["t"], rtol=1e-15)
    np.testing.assert_allclose([row.c[0] for row in schedule.rows], run["weight"], rtol=1e-14)
    np.testing.assert_allclose([row.sigma for row in schedule.rows], run["sigma"], rtol=1e-13, atol=1e-17)
    assert _error(run, schedule, start_of, each_replay) <= TOLERANCE


@pytest.mark.parametrize("name", RUNS)
def test_a_wrong_coefficient_is_seen(golden, start_of, replay, name):
    run, schedule = golden(f"indi-tiny/{name}.npz"), indi_schedule(**RUNS[name])
    rows = list(schedule.rows)
    rows[2] = replace(rows[2], c=(rows[2].c[0] + 1e-3,))
    assert _error(run, replace(schedule, rows=tuple(rows)), start_of, replay) > 10 * TOLERANCE


@settings(deadline=None)
@given(
    steps=st.integers(1, 40),
    inner=st.lists(st.floats(0.01, 0.99), max_size=6, unique=True),
    uniform=st.booleans(),
    noise=st.sampled_from(["const", "brownian", "renoise"]),
    eps=st.floats(0, 1),
)
def test_rows_mix_and_keep_the_noise_law(steps, inner, uniform, noise, eps):
    """c_state + c_0 = 1; the state's noise stays at eps*t (const), eps*sqrt(t) (brownian), and ends at 0."""
    grid = None if uniform else [1.0, *sorted(inner, reverse=True), 0.0]
    schedule = indi_schedule(steps=steps if uniform else None, grid=grid, noise=noise, eps=eps)
    ends = [row.t for row in schedule.rows[1:]] + [0.0]
    assert schedule.rows[0].t == 1
    assert (schedule.rows[-1].c_state, schedule.rows[-1].c, schedule.rows[-1].sigma) == (0, (1,), 0)
    std = schedule.start.c_noise
    for row, u in zip(schedule.rows, ends, strict=True):
        assert row.c_state + row.c[0] == pytest.approx(1, rel=1e-15)
        assert row.c_state * row.t == pytest.approx(u, rel=1e-14)
        std = math.hypot(row.c_state * std, row.sigma)
        if noise != "renoise":
            assert std == pytest.approx(eps * (u if noise == "const" else math.sqrt(u)), rel=1e-9, abs=1e-300)


def test_uniform_times_are_exact():
    rows = indi_schedule(steps=49).rows
    assert [row.t for row in rows] == [k / 49 for k in range(49, 0, -1)]
    assert [row.c[0] for row in rows] == [1 / k for k in range(49, 0, -1)]


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"steps": 10_001},
        {"steps": 5, "eps": -0.1, "noise": "const"},
        {"steps": 5, "eps": float("nan"), "noise": "const"},
        {"steps": 5, "eps": 0.1},
        {"steps": 5, "noise": "pink"},
        {"steps": 5, "grid": [1, 0]},
        {},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError, match="expected"):
        indi_schedule(**options)


@pytest.mark.parametrize(
    "grid", [[], [1], [1, 0.5], [0.9, 0], [1, 0.5, 0.5, 0], [1, 0.2, 0.5, 0], [1, float("nan"), 0]]
)
def test_a_grid_must_fall_from_one_to_zero(grid):
    with pytest.raises(ScheduleError, match="fall strictly"):
        indi_schedule(grid=grid)
