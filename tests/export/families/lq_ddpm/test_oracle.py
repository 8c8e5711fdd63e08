"""The plain formulas against the rows, with one made-up network: two ways to the same image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from lqhq.export.families.lq_ddpm.oracle import sample
from lqhq.export.families.lq_ddpm.process import Process
from lqhq.export.families.lq_ddpm.scheduler_config import process_of
from lqhq.export.families.lq_ddpm.schedules import path_of, schedules
from lqhq.export.families.lq_ddpm.settings import plan
from lqhq.export.settings import Settings
from lqhq.kernels.schedule_step import schedule_step
from lqhq.runtime.row_step import row_coefficients
from lqhq.runtime.samplers.diffusion import guided_process
from lqhq.runtime.schedule import Schedule

SHAPE = (1, 3, 6, 5)


def called(state: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
    """Smooth in state and time, and its values cross the clip."""
    return torch.sin(2 * state + 0.01 * t[:, None, None, None]), torch.cos(3 * state)


def by_rows(schedule: Schedule, image: np.ndarray, noise: dict[str, np.ndarray]) -> np.ndarray:
    start = schedule.start
    state = (start.c_img * image + start.c_noise * noise["start"]).astype(np.float32)
    history: list[np.ndarray] = []
    for index, row in enumerate(schedule.rows):
        pred, var = called(torch.from_numpy(state), torch.full((1,), row.t))
        assert var is not None
        state, v = schedule_step(
            state,
            pred.numpy(),
            history,
            row_coefficients(row, len(history))[None],
            noise["step"][index][None] if row.noisy else None,
            var.numpy() if row.log_sigma is not None else None,
        )
        history = [v, *history][: schedule.depth]
    return state


def guided(prediction: str = "epsilon", variance: str = "learned_range", library: str = "guided-diffusion") -> Process:
    told: dict[str, Any] = {"prediction": prediction, "variance": variance, "library": library}
    return Process(levels=guided_process(schedule="cosine"), clip=1.0, sampler="ddpm", **told)


CASES: list[tuple[Process, dict[str, Any]]] = [
    *[(process_of("x", {"prediction_type": kind}, 3), {}) for kind in ("epsilon", "sample", "v_prediction")],
    (process_of("x", {}, 3), {"final_sigmas": "zero", "spacing": "trailing"}),
    (process_of("x", {"variance_type": "fixed_large"}, 3), {"sampler": "ddpm"}),
    (process_of("x", {"prediction_type": "v_prediction"}, 3), {"sampler": "ddim", "eta": 0.5}),
    (process_of("x", {"prediction_type": "sample"}, 3), {"sampler": "ddim", "clip_denoised": False}),
    (guided(), {"respacing": "50"}),
    (guided("sample"), {"respacing": "10,15,25", "clip_denoised": False}),
    (guided("sample", "fixed_large"), {"sampler": "ddim", "respacing": "ddim50", "eta": 0.7}),
    (guided(), {"sampler": "unipc"}),
    (guided("v_prediction", "fixed_small", "lucidrains"), {"sampler": "ddim", "steps": 20}),
]


def setting(index: int) -> tuple[Schedule, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    process, told = CASES[index]
    decided = plan(process, Settings(**told))
    table = list(schedules(process, decided).values())[-1]
    draw = np.random.default_rng(index)
    image = draw.uniform(-1, 1, SHAPE).astype(np.float32)
    noise = {
        "start": draw.standard_normal(SHAPE[1:], dtype=np.float32),
        "step": draw.standard_normal((decided.starts, *SHAPE[1:]), dtype=np.float32),
    }
    path = path_of(process, decided, decided.starts)
    wanted = sample(called, torch.from_numpy(image), path, process, decided, noise).numpy()
    return table, image, noise, wanted


@pytest.mark.parametrize("index", range(len(CASES)))
def test_rows_and_formulas_agree(index: int) -> None:
    table, image, noise, wanted = setting(index)
    assert np.abs(by_rows(table, image, noise) - wanted).max() < 2e-5


@pytest.mark.parametrize("index", range(len(CASES)))
def test_a_wrong_row_is_seen(index: int) -> None:
    """The planted fault: one factor of one row off by a hundredth."""
    table, image, noise, wanted = setting(index)
    at = len(table.rows) // 2
    row = table.rows[at]
    wrong = replace(row, c=(row.c[0] + 1e-2, *row.c[1:]))
    rows = (*table.rows[:at], wrong, *table.rows[at + 1 :])
    assert np.abs(by_rows(replace(table, rows=rows), image, noise) - wanted).max() > 2e-5
