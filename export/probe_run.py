"""Driving a diffusers scheduler by hand: every input is ours, every state and x0 it forms is recorded."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lqhq.export.probe_errors import refusal
from lqhq.runtime.errors import OptionError

__all__ = ["Call", "Inputs", "Run", "Trace", "Vector", "check_interface", "drive", "fresh"]

Vector = NDArray[np.float64]
STEP_PARAMETERS = ("model_output", "timestep", "sample")
STEP_OPTIONS = {"eta", "s_churn", "s_noise", "s_tmax", "s_tmin", "use_clipped_model_output"}
OTHERS = {"generator", "per_token_timesteps", "pred_original_sample", "return_dict", "variance_noise"}
# What a scheduler raises for a combination that it does not support; its code is not ours to mend.
FOREIGN_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Which run of a scheduler is meant: `set_timesteps(steps)`, from its entry `begin_index` to the end."""

    steps: int
    begin_index: int
    step_options: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What the scheduler is fed, as vectors `[D]`: the first sample, outputs of call i, noise of call i.

    `sample`, where given, replaces the sample of call i; only a sampler without memory may be driven so.
    """

    first: Vector
    pred: Callable[[int], Vector]
    noise: Callable[[int], Vector]
    sample: Callable[[int], Vector] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One network call: the time and state it was fed, what the scheduler formed of them, its noise if drawn."""

    t: float
    sample: Vector
    state: Vector
    pred: Vector
    after: Vector
    converted: Vector | None
    x0: Vector | None
    noise: Vector | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """All calls of a run, and the states between them: `states[i]` is fed to call i, the last is the result."""

    calls: tuple[Call, ...]
    states: tuple[Vector, ...]


@dataclass(slots=True)
class _Recorder:
    """Stands in for the scheduler's noise and listens to its conversions during one step."""

    noise: Vector
    draws: int = 0
    converted: list[Vector] = field(default_factory=list)

    def draw(self, *_args: Any, **_kwargs: Any) -> torch.Tensor:
        self.draws += 1
        return _pixels(self.noise)


def fresh(scheduler: Any, run: Run, **changes: object) -> Any:
    """A new scheduler of the same configuration (with `changes`), ready for `run`."""
    try:
        copy = type(scheduler).from_config(scheduler.config, **changes)
        copy.set_timesteps(run.steps)
    except FOREIGN_FAILURES as error:
        raise refusal(scheduler, found=f"{type(error).__name__} from set_timesteps({run.steps}): {error}") from error
    if hasattr(copy, "set_begin_index"):
        copy.set_begin_index(run.begin_index)
    return copy


def check_interface(scheduler: Any, run: Run) -> None:
    """Raise `ScheduleError` unless `step(model_output, timestep, sample)` says all that the sampler needs.

    Raises `OptionError` for steps below 1 and for step options that the scheduler does not take.
    """
    step = getattr(scheduler, "step", None)
    parameters = list(inspect.signature(step).parameters) if step is not None else []
    others = set(parameters[3:]) - STEP_OPTIONS - OTHERS
    if tuple(parameters[:3]) != STEP_PARAMETERS or others:
        raise refusal(
            scheduler,
            found=f"step({', '.join(parameters)})" if step is not None else "no step method",
            expected="step(model_output, timestep, sample)",
        )
    unknown = set(run.step_options) - (STEP_OPTIONS & set(parameters))
    if unknown:
        raise OptionError(
            "step_options",
            found=", ".join(sorted(unknown)),
            expected=f"options of {type(scheduler).__name__}.step: {sorted(STEP_OPTIONS & set(parameters))}",
            mend="Leave out the others.",
        )
    if run.steps < 1:
        raise OptionError("steps", found=str(run.steps), expected="1 or more", mend="Choose a number of steps.")


def drive(scheduler: Any, inputs: Inputs, run: Run) -> Trace:
    """Take a `fresh` scheduler through `run`. Raises `ScheduleError` when it fails or gives NaN."""
    times = scheduler.timesteps[run.begin_index :]
    sample, calls, states = inputs.first, [], []
    for i, time in enumerate(times):
        if inputs.sample is not None:
            sample = inputs.sample(i)
        recorder = _Recorder(noise=inputs.noise(i))
        try:
            with _listening(scheduler, recorder):
                state = _scaled(scheduler, sample, time)
                output = scheduler.step(_pixels(inputs.pred(i)), time, _pixels(sample), **run.step_options)
        except FOREIGN_FAILURES as error:
            raise refusal(scheduler, found=f"{type(error).__name__} in step {i}: {error}") from error
        call = _call(float(time), sample, state, inputs.pred(i), output, recorder)
        if recorder.draws > 1:
            raise refusal(scheduler, found=f"{recorder.draws} noise draws in step {i}", expected="one at most")
        if not np.isfinite(call.after).all():
            raise refusal(
                scheduler,
                found=f"values that are not finite after step {i} (t = {call.t:g})",
                expected="finite numbers",
                mend="Take fewer steps, or another spacing or final sigma: repeated timesteps do this.",
            )
        calls.append(call)
        states.append(state)
        sample = call.after
    return Trace(calls=tuple(calls), states=(*states, sample))


def _call(t: float, sample: Vector, state: Vector, pred: Vector, output: Any, recorder: _Recorder) -> Call:
    x0 = output.get("pred_original_sample")
    return Call(
        t=t,
        sample=sample,
        state=state,
        pred=pred,
        after=_vector(output.prev_sample),
        converted=recorder.converted[0] if recorder.converted else None,
        x0=None if x0 is None else _vector(x0),
        noise=recorder.noise if recorder.draws else None,
    )


@contextmanager
def _listening(scheduler: Any, recorder: _Recorder) -> Iterator[None]:
    """Replace the noise source of the scheduler's module, and overhear its `convert_model_output`.

    Module state is changed for the time of one step, so two probes must not run at once in one process.
    """
    modules = {sys.modules[cls.__module__] for cls in type(scheduler).__mro__}
    sources = {module: module.randn_tensor for module in modules if hasattr(module, "randn_tensor")}
    convert: Any = getattr(scheduler, "convert_model_output", None)

    def overheard(*args: Any, **kwargs: Any) -> Any:
        value = convert(*args, **kwargs)
        recorder.converted.append(_vector(value))
        return value

    try:
        for module in sources:
            vars(module)["randn_tensor"] = recorder.draw
        if convert is not None:
            scheduler.convert_model_output = overheard
        yield
    finally:
        for module, source in sources.items():
            vars(module)["randn_tensor"] = source
        if convert is not None:
            del scheduler.convert_model_output


def _scaled(scheduler: Any, sample: Vector, time: torch.Tensor) -> Vector:
    """What the network is fed; flow-matching schedulers scale nothing and have no such method."""
    scale = getattr(scheduler, "scale_model_input", None)
    return sample if scale is None else _vector(scale(_pixels(sample), time))


def _pixels(values: Vector) -> torch.Tensor:
    return torch.from_numpy(values.copy()).reshape(1, 1, 1, -1)


def _vector(values: torch.Tensor) -> Vector:
    return values.detach().to(torch.float64).numpy().reshape(-1)
