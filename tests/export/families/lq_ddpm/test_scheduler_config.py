"""A scheduler's configuration as a process: what is read, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lqhq.export.families.lq_ddpm.scheduler_config import process_of
from lqhq.runtime.errors import CheckpointError

DATA = Path(__file__).parents[3] / "data" / "lq_ddpm-diffusers-tiny"


def test_the_golden_file_is_what_is_taken_where_nothing_is_told() -> None:
    read = json.loads((DATA / "pipeline/scheduler/scheduler_config.json").read_text())
    told, silent = process_of("x", read, 3), process_of("x", {}, 3)
    np.testing.assert_array_equal(told.levels.alphas_cumprod, silent.levels.alphas_cumprod)
    assert (told.spacing, silent.spacing) == ("leading", None)
    assert (told.sampler, told.clip, told.variance, told.final) == ("unipc", 1.0, "fixed_small", None)


def test_keys_that_matter_are_read() -> None:
    process = process_of(
        "x",
        {
            "_class_name": "DDIMScheduler",
            "num_train_timesteps": 100,
            "beta_schedule": "squaredcos_cap_v2",
            "prediction_type": "v_prediction",
            "clip_sample_range": 2.0,
            "set_alpha_to_one": False,
            "steps_offset": 1,
            "timestep_spacing": "trailing",
        },
        3,
    )
    assert process.levels.betas.size == 100
    assert (process.sampler, process.prediction, process.clip) == ("ddim", "v_prediction", 2.0)
    assert (process.end_clean, process.offset, process.spacing) == (False, 1, "trailing")


def test_trained_betas_take_the_place_of_a_schedule() -> None:
    levels = process_of("x", {"trained_betas": [0.1, 0.2, 0.3]}, 3).levels
    np.testing.assert_allclose(levels.alphas_cumprod, [0.9, 0.72, 0.504], rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "outputs", "words"),
    [
        ({"thresholding": True}, 3, "thresholding"),
        ({"rescale_betas_zero_snr": True}, 3, "rescale_betas_zero_snr"),
        ({"beta_schedule": "sigmoid"}, 3, "beta_schedule"),
        ({"beta_start": 0.5}, 3, "above beta_end"),
        ({"variance_type": "learned"}, 6, "one of fixed_small"),
        ({"variance_type": "learned_range"}, 3, "3 output channels"),
        ({"variance_type": "fixed_small"}, 6, "6 output channels"),
        ({"num_train_timesteps": "many"}, 3, "num_train_timesteps"),
    ],
)
def test_what_no_table_can_do_is_refused(config: dict[str, object], outputs: int, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        process_of("x", config, outputs)


def test_settings_of_another_unipc_are_remembered() -> None:
    assert process_of("x", {"solver_order": 3, "use_karras_sigmas": True}, 3).unipc.count("solver_order 3") == 1
    assert process_of("x", {"solver_order": 2, "solver_type": "bh2"}, 3).unipc == ""
