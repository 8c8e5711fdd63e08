"""The one-step sampler against OSEDiff's UNet case."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from lqhq.runtime.errors import OptionError
from lqhq.runtime.samplers.diffusion import diffusers_process, guided_process
from lqhq.runtime.samplers.one_step import one_step_schedule

TOLERANCE = 2e-5  # x0 reaches 55 here, and one float32 step there is 4e-6


@pytest.fixture(scope="module")
def schedule():
    return one_step_schedule(diffusers_process(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012), level=999)


def _error(case, schedule, replay):
    state, pred = case["latents"], case["eps_lora_merged"]
    return np.abs(replay(schedule, state, [pred], [0.0])[0] - case["x0"]).max()


def test_x0_of_osediff(golden, each_replay, schedule):
    assert (schedule.rows[0].p, schedule.rows[0].q) == (14.648818969726562, -14.61464786529541)
    assert _error(golden("osediff-tiny/case-unet.npz"), schedule, each_replay) <= TOLERANCE


def test_a_wrong_coefficient_is_seen(golden, replay, schedule):
    row = schedule.rows[0]
    wrong = replace(schedule, rows=(replace(row, q=row.q + 1e-3),))
    assert _error(golden("osediff-tiny/case-unet.npz"), wrong, replay) > 10 * TOLERANCE


@pytest.mark.parametrize("level", [0, 10, 499])
def test_each_prediction_gives_back_x0(level):
    process = guided_process()
    a, s = np.sqrt(process.alphas_cumprod[level]), np.sqrt(1 - process.alphas_cumprod[level])
    x0, eps = 0.3, -1.7
    preds = {"epsilon": eps, "sample": x0, "v_prediction": a * eps - s * x0}
    for prediction, pred in preds.items():
        row = one_step_schedule(process, level=level, prediction=prediction).rows[0]
        assert row.p * (a * x0 + s * eps) + row.q * pred == pytest.approx(x0, rel=1e-12)


def test_impossible_options_are_refused():
    for options in ({"level": -1}, {"level": 1000}, {"level": 5, "prediction": "noise"}):
        with pytest.raises(OptionError, match="expected"):
            one_step_schedule(guided_process(), **options)
