"""The table of a diffusers scheduler, found by probing it: no formula of the sampler is needed.

A sampler that is linear in its state, the network's outputs and its noise is known by its impulse
responses. We run the scheduler once over pixels that each carry one input, read every factor off, and write
the rows. What makes this safe is the proof at the end: the rows must agree with the scheduler itself on
random inputs, small and large, where thresholding, clamps and hidden state show. It serves as an oracle for
`lqhq.runtime.samplers`, and as the way in for samplers that have no builder there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lqhq.export.probe_errors import refusal
from lqhq.export.probe_fit import clipped_rows, fitted_rows, impulses
from lqhq.export.probe_run import Inputs, Run, Vector, check_interface, drive, fresh
from lqhq.runtime.errors import OptionError
from lqhq.runtime.schedule import MAX_DEPTH, Row, Schedule, Start

__all__ = ["rows_from_scheduler"]

SEED = 20230316
PIXELS = 64
AMPLITUDES = (0.1, 100.0)  # within a clip of 1, and far outside it
MAX_ERROR = 1e-5  # relative; float32 casts inside schedulers leave up to 1e-6


def rows_from_scheduler(
    scheduler: Any,
    *,
    steps: int,
    begin_index: int = 0,
    start: Start | None = None,
    max_depth: int = 4,
    step_options: Mapping[str, float] | None = None,
) -> Schedule:
    """The schedule of `scheduler` (any diffusers one, as configured) after `set_timesteps(steps)`.

    Args:
        scheduler: read for its class and configuration only; its state is not touched.
        begin_index: the first entry of its `timesteps` to run: a start part of the way. A sampler of order 2
            (Heun) has two entries per step, and must start at the first.
        start: the start row; by default the one that noises an image to the first level, from `add_noise`.
        max_depth: how many earlier values the rows may use, at most 15. Each is an image kept in memory, and
            some samplers (IPNDM) need more the longer they run.
        step_options: what to pass to each `step`: `eta` of DDIM, `s_churn` of Euler and the like.

    `Row.t` is the scheduler's timestep as it is; the state is the network's input, scaled where the
    scheduler scales it. Raises `ScheduleError` when the sampler is not linear (thresholding, hidden
    clamps), has another interface, learns its variance or fails itself; `OptionError` for a begin_index or
    step option that does not exist.
    """
    run = Run(steps=steps, begin_index=begin_index, step_options=step_options or {})
    check_interface(scheduler, run)
    clip = _clip(scheduler)
    plain: dict[str, object] = {} if clip is None else {"clip_sample": False}
    probe = fresh(scheduler, run, **plain)
    calls = len(probe.timesteps) - begin_index
    order = getattr(probe, "order", 1)
    if begin_index < 0 or calls < 1 or begin_index % order:
        raise OptionError(
            "begin_index",
            found=str(begin_index),
            expected=f"an index into {len(probe.timesteps)} timesteps, divisible by the sampler's order {order}",
            mend="Start at the first entry of a step: steps to skip times the order.",
        )
    trace = drive(probe, impulses(calls), run)
    rows = fitted_rows(scheduler, trace, min(max_depth, MAX_DEPTH - 1))
    if clip is not None:
        rows = clipped_rows(fresh(scheduler, run), rows, clip, run)
    scale = float(trace.states[0][0])
    _prove(scheduler, rows, scale, run)
    start = start or _start(scheduler, scale, run)
    return Schedule(start=start, rows=rows, about=f"{type(scheduler).__name__}, {calls} calls, probed")


def _clip(scheduler: Any) -> float | None:
    """The bound of x0 that the configuration asks for; refuse what no row can say."""
    config = scheduler.config
    if config.get("thresholding"):
        raise refusal(scheduler, found="thresholding=True", mend="Set thresholding=False; clip_sample can be kept.")
    if str(config.get("variance_type")).startswith("learned"):
        raise refusal(
            scheduler,
            found=f"variance_type={config.variance_type!r}",
            expected="a fixed variance",
            mend="Use ddpm_schedule(variance='learned_range') of lqhq.runtime.samplers.ddpm.",
        )
    return float(config.get("clip_sample_range", 1.0)) if config.get("clip_sample") else None


def _prove(scheduler: Any, rows: tuple[Row, ...], scale: float, run: Run) -> None:
    """Run scheduler and rows over the same random numbers; raise `ScheduleError` where they part."""
    for amplitude in AMPLITUDES:
        rng = np.random.default_rng(SEED)
        first = amplitude * rng.standard_normal(PIXELS)
        preds = amplitude * rng.standard_normal((len(rows), PIXELS))
        noises = amplitude * rng.standard_normal((len(rows), PIXELS))
        inputs = Inputs(first=first, pred=preds.__getitem__, noise=noises.__getitem__)
        truth = drive(fresh(scheduler, run), inputs, run).states[1:]
        ours = _executed(rows, scale * first, preds, noises)
        errors = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, truth, strict=True)]
        if max(errors) > MAX_ERROR:
            raise refusal(
                scheduler,
                found=f"a relative error of {max(errors):.1e} on random inputs of size {amplitude:g}",
                mend="Look for a clamp or a threshold in its configuration, or use another scheduler.",
            )


def _executed(rows: tuple[Row, ...], state: Vector, preds: Vector, noises: Vector) -> list[Vector]:
    """The states after each row, in float64."""
    states: list[Vector] = []
    history: list[Vector] = []
    for row, pred, noise in zip(rows, preds, noises, strict=True):
        value = row.p * state + row.q * pred
        history.insert(0, value if row.clip is None else value.clip(-row.clip, row.clip))
        past = sum(factor * old for factor, old in zip(row.c, history, strict=False))
        state = row.c_state * state + row.c_pred * pred + past + row.sigma * noise
        states.append(state)
    return states


def _start(scheduler: Any, scale: float, run: Run) -> Start:
    """What the scheduler makes of an image and noise at its first level, by impulses."""
    copy = fresh(scheduler, run)
    image, noise = torch.eye(2, dtype=torch.float64).reshape(2, 1, 1, 1, 2)
    time = copy.timesteps[run.begin_index : run.begin_index + 1]
    if hasattr(copy, "add_noise"):
        mixed = copy.add_noise(image, noise, time)
    elif hasattr(copy, "scale_noise"):
        mixed = copy.scale_noise(image, time, noise)
    else:
        raise refusal(scheduler, found="no add_noise", expected="a start", mend="Pass start=Start(...) yourself.")
    c_img, c_noise = (scale * float(value) for value in mixed.reshape(-1))
    return Start(c_img=c_img, c_noise=c_noise)
