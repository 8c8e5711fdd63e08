"""DDPM, DDIM and UniPC rows against golden trajectories of two libraries, with the stored network outputs."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from lqhq.runtime.samplers.ddim import ddim_schedule
from lqhq.runtime.samplers.ddpm import ddpm_schedule
from lqhq.runtime.samplers.diffusion import diffusers_process, guided_process
from lqhq.runtime.samplers.path import ddim_path, ddpm_path, guided_path, unipc_path
from lqhq.runtime.samplers.unipc import unipc_schedule

LINEAR = diffusers_process()


def _guided(first, respacing, schedule="linear"):
    return guided_path(guided_process(schedule=schedule, respacing=respacing), first=first)


def _unipc(steps, strength, spacing, final):
    return unipc_schedule(unipc_path(LINEAR, steps=steps, strength=strength, spacing=spacing, final=final))


DIFFUSERS = {
    "ddpm_20_s0.3": ddpm_schedule(ddpm_path(LINEAR, steps=20, strength=0.3)),
    "ddim_10_s0.5_eta0": ddim_schedule(ddim_path(LINEAR, steps=10, strength=0.5)),
    "ddim_50_s0.25_eta0.5": ddim_schedule(ddim_path(LINEAR, steps=50, strength=0.25), eta=0.5),
    "unipc_50_s0.25_leading_zero": _unipc(50, 0.25, "leading", "zero"),
    "unipc_50_s0.25_linspace_sigma_min": _unipc(50, 0.25, "linspace", "sigma_min"),
    "unipc_50_s0.02_leading_sigma_min": _unipc(50, 0.02, "leading", "sigma_min"),
}
GUIDED = {
    "learned.traj_ddpm_10_i4_noclip": (
        ddpm_schedule(_guided(4, "10"), variance="learned_range", clip=None),
        1e-5,
    ),
    "plain.traj_ddpm_10_i2": (ddpm_schedule(_guided(2, "10", "cosine"), variance="fixed_large"), 1e-5),
    "learned.traj_ddim_ddim20_i5_eta0": (ddim_schedule(_guided(5, "ddim20"), rederive_eps=True), 2e-5),
    "learned.traj_ddim_20_i5_eta0.7": (ddim_schedule(_guided(5, "20"), eta=0.7, rederive_eps=True), 2e-5),
}
CASES = [(f"lq_ddpm-diffusers-tiny/{name}.npz", schedule, 1e-5) for name, schedule in DIFFUSERS.items()]
CASES += [(f"lq_ddpm-guided-tiny/{name}.npz", *case) for name, case in GUIDED.items()]
IDS = [name for name, _, _ in CASES]


def _error(run, schedule, start_of, replay):
    """The largest error of any state: every row starts from our own last state, as in a real run."""
    state = start_of(schedule, run["x_start"], run["q_noise"])
    assert np.abs(state - run["x_t0"]).max() <= 1e-6
    preds, channels = run["model_out"], state.shape[1]
    noises = [*run.get("step_noise", []), *[0.0] * len(preds)]  # the last rows may have drawn none
    states = replay(schedule, state, preds[:, :, :channels], noises, preds[:, :, channels:])
    return np.abs(np.stack(states) - run["samples"]).max()


@pytest.mark.parametrize(("name", "schedule", "tolerance"), CASES, ids=IDS)
def test_golden_trajectory(golden, start_of, each_replay, name, schedule, tolerance):
    run = golden(name)
    times = run["timesteps"] if "timesteps" in run else run["model_t"]
    np.testing.assert_array_equal([row.t for row in schedule.rows], times)
    assert _error(run, schedule, start_of, each_replay) <= tolerance


@pytest.mark.parametrize(("name", "schedule", "tolerance"), CASES, ids=IDS)
@pytest.mark.parametrize("field", ["c_state", "c", "p"])
def test_a_wrong_coefficient_is_seen(golden, start_of, replay, name, schedule, tolerance, field):
    at = len(schedule.rows) // 2
    row = schedule.rows[at]
    value = getattr(row, field)
    wrong = replace(row, **{field: (value[0] + 1e-3, *value[1:]) if field == "c" else value + 1e-3})
    rows = (*schedule.rows[:at], wrong, *schedule.rows[at + 1 :])
    assert _error(golden(name), replace(schedule, rows=rows), start_of, replay) > tolerance


@pytest.mark.parametrize("steps", [10, 20, 50, 1000])
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_ddpm_coefficients_of_diffusers(golden, steps, schedule):
    tables = golden("lq_ddpm-diffusers-tiny/scheduler_tables.npz")
    path = ddpm_path(diffusers_process(schedule=schedule), steps=steps)
    small, large = (ddpm_schedule(path, variance=kind).rows for kind in ("fixed_small", "fixed_large"))
    key = f"{schedule}/ddpm_{steps}"
    close = {"rtol": 1e-6, "atol": 1e-9}
    np.testing.assert_allclose([row.c[0] for row in small], tables[f"{key}/x0_coef"], **close)
    np.testing.assert_allclose([row.c_state for row in small], tables[f"{key}/xt_coef"], **close)
    # No noise is drawn at t = 0, where the tables hold a variance all the same.
    np.testing.assert_allclose(
        [row.sigma for row in small[:-1]], np.sqrt(tables[f"{key}/variance_fixed_small"][:-1]), **close
    )
    np.testing.assert_allclose(
        [row.sigma for row in large[:-1]], np.sqrt(tables[f"{key}/variance_fixed_large"][:-1]), **close
    )
    assert not small[-1].noisy
    assert not large[-1].noisy


def test_worked_numbers_of_unipc():
    """Worked numbers of the released synthesis: 50 leading steps from t = 228 (12 of them)."""
    rows = DIFFUSERS["unipc_50_s0.25_leading_zero"].rows
    assert (rows[0].p, rows[0].q) == pytest.approx((1.312438, -0.849997), abs=1e-6)
    assert (rows[0].c_state, *rows[0].c) == pytest.approx((0.936612, 0.081369), abs=1e-6)
    assert (rows[2].c_state, *rows[2].c) == pytest.approx((0.917840, 0.184080, -0.122060, 0.035558), abs=1e-6)
    assert (rows[-1].c_state, *rows[-1].c) == (0, 1, 0, 0)
