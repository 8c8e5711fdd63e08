"""Laws that every table must obey, whatever the process: signal and noise of the state follow the path."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lqhq.runtime.errors import OptionError, ScheduleError
from lqhq.runtime.samplers.ddim import ddim_schedule
from lqhq.runtime.samplers.ddpm import ddpm_schedule
from lqhq.runtime.samplers.diffusion import NoiseProcess, diffusers_process, guided_process
from lqhq.runtime.samplers.path import Path, ddim_path, ddpm_path, guided_path, unipc_path
from lqhq.runtime.samplers.unipc import unipc_schedule

LEVELS = 60
PREDICTIONS = ("epsilon", "sample", "v_prediction")
PROCESSES = {name: guided_process(schedule=name, train_steps=LEVELS) for name in ("linear", "cosine")}
QUICK = settings(deadline=None, max_examples=40)
processes = st.sampled_from(sorted(PROCESSES)).map(PROCESSES.__getitem__)
predictions = st.sampled_from(PREDICTIONS)


def _ideal(prediction, a, s, x0, eps):
    return {"epsilon": eps, "sample": x0, "v_prediction": a * eps - s * x0}[prediction]


def _check_signal_and_noise(path, schedule, prediction, *, keeps_power):
    """Fed the true x0 and eps of its state, a row keeps both on the path, exactly."""
    a, s = np.sqrt(path.abar), np.sqrt(1 - path.abar)
    a_next, s_next = np.sqrt(path.abar_next), np.sqrt(1 - path.abar_next)
    for i, row in enumerate(schedule.rows):
        x_pred, e_pred = (_ideal(prediction, a[i], s[i], *unit) for unit in ((1, 0), (0, 1)))
        assert row.p * a[i] + row.q * x_pred == pytest.approx(1, rel=1e-9)
        assert row.p * s[i] + row.q * e_pred == pytest.approx(0, abs=1e-9 * max(1, abs(row.p)))
        signal = row.c_state * a[i] + row.c_pred * x_pred + sum(row.c)
        noise = row.c_state * s[i] + row.c_pred * e_pred
        assert signal == pytest.approx(a_next[i], rel=1e-9)
        if keeps_power:
            assert noise**2 + row.sigma**2 == pytest.approx(s_next[i] ** 2, rel=1e-9, abs=1e-14)


@QUICK
@given(process=processes, prediction=predictions, first=st.integers(0, LEVELS - 1))
def test_ddpm(process, prediction, first):
    path = guided_path(process, first=first)
    schedule = ddpm_schedule(path, prediction=prediction)
    _check_signal_and_noise(path, schedule, prediction, keeps_power=True)
    assert schedule.start.c_img**2 + schedule.start.c_noise**2 == pytest.approx(1, rel=1e-12)


@QUICK
@given(
    process=processes,
    prediction=predictions,
    eta=st.floats(0, 1),
    steps=st.integers(1, LEVELS),
    strength=st.floats(0.01, 1),
    spacing=st.sampled_from(["leading", "linspace", "trailing"]),
    end_clean=st.booleans(),
    rederive=st.booleans(),
)
def test_ddim(process, prediction, eta, steps, strength, spacing, end_clean, rederive):
    assume(int(steps * strength) >= 1)
    path = ddim_path(process, steps=steps, strength=strength, spacing=spacing, end_clean=end_clean)
    schedule = ddim_schedule(path, eta=eta, prediction=prediction, rederive_eps=rederive)
    _check_signal_and_noise(path, schedule, prediction, keeps_power=True)


@QUICK
@given(
    process=processes,
    prediction=predictions,
    steps=st.integers(1, LEVELS // 2 - 1),
    strength=st.floats(0.02, 1),
    spacing=st.sampled_from(["leading", "linspace", "trailing"]),
    final=st.sampled_from(["zero", "sigma_min"]),
)
def test_unipc(process, prediction, steps, strength, spacing, final):
    assume(int(steps * strength) >= 1)
    path = unipc_path(process, steps=steps, strength=strength, spacing=spacing, final=final)
    schedule = unipc_schedule(path, prediction=prediction)
    _check_signal_and_noise(path, schedule, prediction, keeps_power=False)
    s, s_next = np.sqrt(1 - path.abar), np.sqrt(1 - path.abar_next)
    np.testing.assert_allclose([row.c_state for row in schedule.rows], s_next / s, rtol=1e-12)
    assert schedule.depth == min(2, len(schedule.rows) - 1)
    assert not any(row.noisy for row in schedule.rows)


def test_unipc_equals_predictor_and_corrector_apart():
    """An oracle that keeps the corrected state apart and solves the corrector's equations as matrices."""
    path = unipc_path(PROCESSES["linear"], steps=9, final="sigma_min")
    schedule = unipc_schedule(path)
    abar = np.append(path.abar, path.abar_next[-1])
    a, s = np.sqrt(abar), np.sqrt(1 - abar)
    level = np.log(a / s)
    rng = np.random.default_rng(20260101)
    state = older = predicted = rng.standard_normal(5)
    history: list[np.ndarray] = []
    ours, kept = state, []
    for i, row in enumerate(schedule.rows):
        pred = rng.standard_normal(5)
        kept.insert(0, row.p * ours + row.q * pred)
        ours = row.c_state * ours + sum(c * v for c, v in zip(row.c, kept, strict=False))
        x0 = (predicted - s[i] * pred) / a[i]
        state = _corrected(a, s, level, i, older, history, x0) if i else predicted
        history.append(x0)
        order = min(2, len(schedule.rows) - i, i + 1)
        h = level[i + 1] - level[i]
        b = np.expm1(-h)
        older, predicted = state, s[i + 1] / s[i] * state - a[i + 1] * b * x0
        if order == 2:
            predicted = predicted - a[i + 1] * b * 0.5 * (history[-2] - x0) / ((level[i - 1] - level[i]) / h)
        np.testing.assert_allclose(ours, predicted, rtol=0, atol=1e-10)


def _corrected(a, s, level, i, older, history, x0):
    hh = -(level[i] - level[i - 1])
    b = np.expm1(hh)
    result = s[i] / s[i - 1] * older - a[i] * b * history[-1]
    if min(2, i) == 1:
        return result - a[i] * b * 0.5 * (x0 - history[-1])
    r = (level[i - 2] - level[i - 1]) / -hh
    g1 = b / hh - 1
    g2 = g1 / hh - 1 / 2
    rho = np.linalg.solve(np.array([[1, 1], [r, 1]]), np.array([g1, 2 * g2]) / b)
    return result - a[i] * b * (rho[0] * (history[-2] - history[-1]) / r + rho[1] * (x0 - history[-1]))


def test_learned_variance_lies_between_the_fixed_ones():
    path = guided_path(PROCESSES["linear"], first=50)
    small, large, learned = (
        ddpm_schedule(path, variance=kind).rows for kind in ("fixed_small", "fixed_large", "learned_range")
    )
    for low, high, row in zip(small[:-1], large[:-1], learned[:-1], strict=True):
        l0, l1 = row.log_sigma
        assert np.exp([l0 - l1, l0 + l1]) == pytest.approx([low.sigma, high.sigma], rel=1e-12)
    assert not learned[-1].noisy


def test_clip_and_times_are_carried():
    path = ddpm_path(diffusers_process(), steps=10, strength=0.3)
    schedule = ddpm_schedule(path, clip=0.5)
    assert {row.clip for row in schedule.rows} == {0.5}
    assert [row.t for row in schedule.rows] == [200, 100, 0]


def test_repeated_timesteps_are_refused():
    with pytest.raises(ScheduleError, match="timesteps repeat"):
        unipc_schedule(unipc_path(diffusers_process(), steps=1000, spacing="linspace"))


def test_a_multistep_path_must_join():
    with pytest.raises(ScheduleError, match="looks back"):
        unipc_schedule(ddim_path(diffusers_process(), steps=7, spacing="linspace"))


def test_a_call_may_not_add_noise_to_the_level():
    for abar, after in (([0.5], [0.4]), ([0.5], [float("nan")])):
        with pytest.raises(ScheduleError, match="no more noise"):
            Path(t=np.zeros(1), abar=np.array(abar), abar_next=np.array(after))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: ddpm_schedule(p, variance="learned"),
        lambda p: ddpm_schedule(p, prediction="flow"),
        lambda p: ddim_schedule(p, eta=-0.1),
        lambda p: ddim_schedule(p, eta=1.5),
        lambda p: ddim_schedule(p, eta=float("nan")),
        lambda p: ddim_schedule(p, prediction="flow"),
        lambda p: unipc_schedule(p, prediction="flow"),
        lambda p: guided_path(PROCESSES["linear"], first=LEVELS),
        lambda p: guided_path(PROCESSES["linear"], first=-1),
        lambda p: unipc_path(diffusers_process(), steps=10, final="sigma_max"),
        lambda p: unipc_path(diffusers_process(), steps=10, strength=0),
        lambda p: ddim_path(diffusers_process(), steps=1001),
    ],
)
def test_impossible_options_are_refused(make):
    with pytest.raises(OptionError, match="expected"):
        make(guided_path(PROCESSES["linear"], first=3))


def test_a_process_is_a_value():
    process = diffusers_process(train_steps=10)
    assert isinstance(process, NoiseProcess)
    with pytest.raises(AttributeError):
        process.betas = process.betas
