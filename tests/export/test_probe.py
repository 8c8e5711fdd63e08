"""Probed schedules: equal to closed forms, equal to the real schedulers around a network, or refused."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from msgspec.structs import replace

from lqhq.export import probe
from lqhq.export.probe import rows_from_scheduler
from lqhq.runtime.errors import OptionError, ScheduleError
from lqhq.runtime.samplers.ddim import ddim_schedule
from lqhq.runtime.samplers.ddpm import ddpm_schedule
from lqhq.runtime.samplers.diffusion import diffusers_process
from lqhq.runtime.samplers.path import ddim_path, ddpm_path, unipc_path
from lqhq.runtime.samplers.unipc import unipc_schedule
from lqhq.runtime.schedule import Row, Schedule, Start

# diffusers itself, under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LINEAR = diffusers_process()
COSINE = diffusers_process(schedule="squaredcos_cap_v2")
SEED = 20231105
STEPS = 8


def _without_v(row: Row) -> Row:
    """An unclipped row of no depth says the same in many ways; this one has no v."""
    state, pred = row.c_state + row.c[0] * row.p, row.c_pred + row.c[0] * row.q
    return replace(row, c_state=state, c_pred=pred, c=(0.0,))


def _assert_same(probed: Schedule, closed: Schedule, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    assert len(probed.rows) == len(closed.rows)
    names = ("t", "p", "q", "c_state", "c_pred", "sigma")
    for ours, theirs in zip(closed.rows, probed.rows, strict=True):
        assert ours.clip == theirs.clip
        if ours.clip is None and max(len(ours.c), len(theirs.c)) == 1:
            ours, theirs = _without_v(ours), _without_v(theirs)
        depth = max(len(ours.c), len(theirs.c))
        table = [
            [getattr(row, name) for name in names] + [*row.c, *[0.0] * (depth - len(row.c))] for row in (theirs, ours)
        ]
        np.testing.assert_allclose(table[0], table[1], rtol=rtol, atol=atol, err_msg=f"t = {ours.t}")
    np.testing.assert_allclose(
        (probed.start.c_img, probed.start.c_noise), (closed.start.c_img, closed.start.c_noise), rtol=1e-6
    )


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("clip", [None, 1.0, 0.5])
def test_ddpm_and_ddim_equal_their_closed_forms(prediction, clip):
    options = {"prediction_type": prediction, "clip_sample": clip is not None, "clip_sample_range": clip or 1.0}
    closed = {"prediction": prediction, "clip": clip}
    scheduler = diffusers.DDPMScheduler(**options)
    path = ddpm_path(LINEAR, steps=20, strength=0.3)
    _assert_same(rows_from_scheduler(scheduler, steps=20, begin_index=14), ddpm_schedule(path, **closed))
    scheduler = diffusers.DDIMScheduler(**options)
    path = ddim_path(LINEAR, steps=10)
    _assert_same(rows_from_scheduler(scheduler, steps=10), ddim_schedule(path, **closed))


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_ddpm_variances_and_spacings(variance, spacing):
    scheduler = diffusers.DDPMScheduler(
        variance_type=variance, timestep_spacing=spacing, beta_schedule="squaredcos_cap_v2"
    )
    path = ddpm_path(COSINE, steps=12, spacing=spacing)
    _assert_same(rows_from_scheduler(scheduler, steps=12), ddpm_schedule(path, variance=variance))


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_ddim_with_noise_offset_and_a_noisy_end(spacing):
    offset = 1 if spacing == "leading" else 0
    scheduler = diffusers.DDIMScheduler(timestep_spacing=spacing, set_alpha_to_one=False, steps_offset=offset)
    path = ddim_path(LINEAR, steps=12, spacing=spacing, offset=offset, end_clean=False)
    probed = rows_from_scheduler(scheduler, steps=12, step_options={"eta": 0.5})
    _assert_same(probed, ddim_schedule(path, eta=0.5))


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
@pytest.mark.parametrize("calls", [1, 3, 20])
def test_unipc_equals_its_closed_form(spacing, final, calls):
    scheduler = diffusers.UniPCMultistepScheduler(timestep_spacing=spacing, final_sigmas_type=final)
    path = unipc_path(LINEAR, steps=20, strength=calls / 20, spacing=spacing, final=final)
    probed = rows_from_scheduler(scheduler, steps=20, begin_index=20 - calls)
    assert probed.depth == (1 if (calls, final) == (3, "zero") else min(2, calls - 1))
    _assert_same(probed, unipc_schedule(path), atol=2e-5)  # the library takes its logarithms in float32


SCHEDULERS = {
    "ddpm": (diffusers.DDPMScheduler, {}, 0),
    "ddim": (diffusers.DDIMScheduler, {"prediction_type": "v_prediction"}, 0),
    "unipc": (diffusers.UniPCMultistepScheduler, {}, 2),
    "dpm++2m": (diffusers.DPMSolverMultistepScheduler, {}, 1),
    "dpm++2m sde": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}, 1),
    "euler": (diffusers.EulerDiscreteScheduler, {}, 0),
    "euler ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}, 0),
    "heun": (diffusers.HeunDiscreteScheduler, {}, 1),
    "lcm": (diffusers.LCMScheduler, {}, 0),
    "plms": (diffusers.PNDMScheduler, {"skip_prk_steps": True}, 4),
    "flow matching": (diffusers.FlowMatchEulerDiscreteScheduler, {}, 0),
}


class Network:
    """A small non-linear stand-in: pixels mixed by a fixed matrix, moved by t."""

    def __init__(self) -> None:
        weight = np.random.default_rng(SEED).standard_normal((48, 48)) / 7
        self.weight = torch.from_numpy(weight.astype(np.float32))

    def __call__(self, state: torch.Tensor, t: float) -> torch.Tensor:
        mixed = state.reshape(1, 48) @ self.weight
        return (0.9 * mixed + 0.1 * torch.sin(3 * mixed + t / 1000)).reshape(state.shape)


def _by_scheduler(scheduler, steps, begin, image, noise):
    """The library's own loop: image to image from entry `begin`."""
    generator = torch.Generator().manual_seed(SEED)
    network = Network()
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    times = scheduler.timesteps[begin:]
    mix = scheduler.add_noise if hasattr(scheduler, "add_noise") else None
    state = mix(image, noise, times[:1]) if mix else scheduler.scale_noise(image, times[:1], noise)
    scale = getattr(scheduler, "scale_model_input", lambda sample, _: sample)
    draws = "generator" in type(scheduler).step.__code__.co_varnames
    for t in times:
        pred = network(scale(state, t), float(t))
        extra = {"generator": generator} if draws else {}
        state = scheduler.step(pred, t, state, **extra).prev_sample
    return state


def _by_rows(schedule, image, noise):
    """The same by rows in float32; noise is drawn where a row has some (the rest are at the end of a run)."""
    generator = torch.Generator().manual_seed(SEED)
    network = Network()
    state = schedule.start.c_img * image + schedule.start.c_noise * noise
    history: list[torch.Tensor] = []
    for row in schedule.rows:
        pred = network(state, row.t)
        value = row.p * state + row.q * pred
        history.insert(0, value if row.clip is None else value.clamp(-row.clip, row.clip))
        state = row.c_state * state + row.c_pred * pred
        for factor, old in zip(row.c, history, strict=False):
            state = state + factor * old
        if row.noisy:
            state = state + row.sigma * torch.randn(state.shape, generator=generator)
    return state


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("begin", [0, 4])
def test_rows_run_as_the_scheduler_does(name, begin):
    kind, options, depth = SCHEDULERS[name]
    image, noise = torch.from_numpy(np.random.default_rng(SEED).standard_normal((2, 1, 3, 4, 4), np.float32))
    schedule = rows_from_scheduler(kind(**options), steps=STEPS, begin_index=begin)
    assert schedule.depth == depth or begin
    truth = _by_scheduler(kind(**options), STEPS, begin, image, noise)
    error = (_by_rows(schedule, image, noise) - truth).abs().max() / truth.abs().max()
    assert error <= 1e-5


class HiddenClamp(diffusers.DDIMScheduler):
    """Bounds the state where its configuration does not say so."""

    def step(self, model_output, timestep, sample):
        output = super().step(model_output, timestep, sample)
        output.prev_sample = output.prev_sample.clamp(-200, 200)
        return output


class OwnNoise(diffusers.DDPMScheduler):
    """Draws noise from a source that nobody can replace."""

    def step(self, model_output, timestep, sample):
        output = super().step(model_output, timestep, sample)
        output.prev_sample = output.prev_sample + torch.randn_like(sample)
        return output


class TwoDraws(diffusers.EulerAncestralDiscreteScheduler):
    """Draws twice in a step."""

    def step(self, model_output, timestep, sample):
        first = super().step(model_output, timestep, sample)
        self._step_index -= 1
        second = super().step(model_output, timestep, sample)
        second.prev_sample = (first.prev_sample + second.prev_sample) / 2
        return second


REFUSED = {
    "thresholding": (diffusers.DDPMScheduler, {"thresholding": True}, "thresholding=False"),
    "unipc thresholding": (diffusers.UniPCMultistepScheduler, {"thresholding": True}, "thresholding=False"),
    "learned variance": (diffusers.DDPMScheduler, {"variance_type": "learned_range"}, "ddpm_schedule"),
    "another step": (diffusers.UnCLIPScheduler, {}, "prev_timestep"),
    "inputs of its own": (diffusers.RePaintScheduler, {}, "original_image"),
    "no step": (diffusers.ScoreSdeVeScheduler, {}, "no step method"),
    "unbounded history": (diffusers.IPNDMScheduler, {}, "max_depth"),
    "clamp inside": (diffusers.CMStochasticIterativeScheduler, {}, "clamp"),
    "hidden clamp": (HiddenClamp, {"clip_sample": False}, "clamp"),
    "clip without an x0": (diffusers.LCMScheduler, {"clip_sample": True}, "clip_sample=False"),
    "noise of its own": (OwnNoise, {}, "residual"),
    "two draws": (TwoDraws, {}, "one at most"),
    "NaN": (diffusers.UniPCMultistepScheduler, {"solver_type": "bh1"}, "not finite"),
    "repeated timesteps": (diffusers.UniPCMultistepScheduler, {"num_train_timesteps": STEPS}, "finite"),
    "failing itself": (diffusers.DDPMScheduler, {"num_train_timesteps": STEPS - 1}, "ValueError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rows_is_refused(name):
    kind, options, said = REFUSED[name]
    scheduler = kind(**options)
    with pytest.raises(ScheduleError, match=r"expected .*\. [A-Z]") as caught:
        rows_from_scheduler(scheduler, steps=STEPS)
    assert said in str(caught.value)


@pytest.mark.parametrize("field", ["c_state", "sigma", "p"])
def test_the_proof_sees_a_wrong_coefficient(monkeypatch, field):
    def wrong(*args):
        rows = fitted(*args)
        return (*rows[:2], replace(rows[2], **{field: getattr(rows[2], field) + 1e-3}), *rows[3:])

    fitted = probe.fitted_rows
    monkeypatch.setattr(probe, "fitted_rows", wrong)
    scheduler = diffusers.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++")
    with pytest.raises(ScheduleError, match="relative error"):
        rows_from_scheduler(scheduler, steps=STEPS)


def test_longer_histories_must_be_asked_for():
    scheduler = diffusers.PNDMScheduler()
    with pytest.raises(ScheduleError, match="max_depth"):
        rows_from_scheduler(scheduler, steps=STEPS)
    assert 4 < rows_from_scheduler(scheduler, steps=STEPS, max_depth=15).depth <= 13


def test_a_start_can_be_given():
    inverse = diffusers.DDIMInverseScheduler(clip_sample=False)
    with pytest.raises(ScheduleError, match="no add_noise"):
        rows_from_scheduler(inverse, steps=STEPS)
    assert rows_from_scheduler(inverse, steps=STEPS, start=Start()).start == Start(c_img=1.0, c_noise=0.0)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"steps": 4, "begin_index": 4},
        {"steps": 4, "begin_index": -1},
        {"steps": 4, "step_options": {"s_churn": 1.0}},
        {"steps": 4, "step_options": {"generator": 0}},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError, match="expected"):
        rows_from_scheduler(diffusers.DDIMScheduler(), **options)


def test_a_run_starts_at_the_first_entry_of_a_step():
    with pytest.raises(OptionError, match="order 2"):
        rows_from_scheduler(diffusers.HeunDiscreteScheduler(), steps=STEPS, begin_index=3)


def test_scheduler_and_library_are_left_as_they_were():
    module = diffusers.schedulers.scheduling_ddpm
    source, scheduler = module.randn_tensor, diffusers.DDPMScheduler()
    before = scheduler.timesteps.clone()
    rows_from_scheduler(scheduler, steps=STEPS)
    with pytest.raises(ScheduleError):
        rows_from_scheduler(OwnNoise(), steps=STEPS)
    assert module.randn_tensor is source
    assert scheduler.num_inference_steps is None
    assert torch.equal(scheduler.timesteps, before)
    assert scheduler.config.clip_sample


def test_step_options_reach_the_step():
    churned = rows_from_scheduler(
        diffusers.EulerDiscreteScheduler(), steps=STEPS, step_options={"s_churn": 4.0, "s_tmin": 0.1}
    )
    assert sum(row.noisy for row in churned.rows) > 2
