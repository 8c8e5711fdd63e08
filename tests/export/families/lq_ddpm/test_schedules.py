"""Tables of every start, by each library's rules, against the golden tables and against the plain formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.export.families.lq_ddpm.process import Process
from lqhq.export.families.lq_ddpm.scheduler_config import process_of
from lqhq.export.families.lq_ddpm.schedules import respaced, schedules
from lqhq.export.families.lq_ddpm.settings import plan
from lqhq.export.settings import Settings
from lqhq.runtime.errors import OptionError, ScheduleError
from lqhq.runtime.samplers.diffusion import guided_process, posterior

DATA = Path(__file__).parents[3] / "data"
LEADING = process_of("x", {"timestep_spacing": "leading"}, 3)


def guided(**changes: Any) -> Process:
    fields: dict[str, Any] = {
        "library": "guided-diffusion",
        "levels": guided_process(),
        "prediction": "epsilon",
        "variance": "fixed_large",
        "clip": 1.0,
        "sampler": "ddpm",
    }
    return Process(**(fields | changes))


def tables(process: Process, **settings: Any) -> dict[str, Any]:
    return schedules(process, plan(process, Settings(**settings)))


def test_the_release_s_starts() -> None:
    made = tables(LEADING)
    assert list(made) == [f"unipc-{n:02}" for n in range(1, 13)]
    assert [len(table.rows) for table in made.values()] == list(range(1, 13))
    for name, t, image, noise in (("unipc-12", 228, 0.76194, 0.64765), ("unipc-09", 171, 0.85620, 0.51665)):
        table = made[name]
        assert table.rows[0].t == t
        assert (table.start.c_img, table.start.c_noise) == pytest.approx((image, noise), abs=1e-5)
    assert made["unipc-01"].rows[0].t == 19


def test_a_config_without_spacing_is_unipc_s_own_and_a_flag_goes_before_it() -> None:
    silent = process_of("x", {}, 3)
    assert tables(silent)["unipc-12"].rows[0].t == 240
    assert tables(silent, spacing="trailing")["unipc-12"].rows[0].t == 239
    assert tables(silent, sampler="ddim")["ddim-12"].rows[0].t == 220  # leading, as diffusers' DDIM by default
    assert tables(LEADING, spacing="linspace")["unipc-12"].rows[0].t == 240


def test_both_ends_of_unipc() -> None:
    clean, old = (tables(LEADING, final_sigmas=kind)["unipc-02"].rows[-1] for kind in ("zero", "sigma_min"))
    assert (clean.c_state, clean.c[0]) == (0.0, 1.0)
    assert old.c_state > 0
    assert tables(LEADING)["unipc-02"].rows[-1] == old


@pytest.mark.parametrize(("strength", "starts"), [(0.29, 14), (0.58, 28), (0.02, 1), (1.0, 50)])
def test_the_product_of_steps_and_strength_is_truncated_in_double_precision(strength: float, starts: int) -> None:
    assert len(tables(LEADING, max_strength=strength)) == starts


@pytest.mark.parametrize("respacing", ["50", "ddim20", "10,15,25"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_golden_tables_of_guided_diffusion(respacing: str, schedule: str) -> None:
    golden = np.load(DATA / "lq_ddpm-guided-tiny" / "tables.npz")
    key = f"{schedule}_{respacing.replace(',', '-')}"
    process = guided(levels=guided_process(schedule=schedule))  # type: ignore[arg-type]
    rows = list(tables(process, respacing=respacing, max_strength=1.0).values())[-1].rows[::-1]
    np.testing.assert_array_equal([row.t for row in rows], golden[f"{key}/timestep_map"])
    close = {"rtol": 1e-12, "atol": 1e-15}
    np.testing.assert_allclose([row.c[0] for row in rows], golden[f"{key}/posterior_mean_coef1"], **close)
    np.testing.assert_allclose([row.c_state for row in rows], golden[f"{key}/posterior_mean_coef2"], **close)
    levels = respaced(process.levels, respacing)
    np.testing.assert_allclose(levels.betas, golden[f"{key}/betas"], **close)
    np.testing.assert_allclose(posterior(levels).variance, golden[f"{key}/posterior_variance"], **close)


def test_the_network_is_fed_scaled_timesteps_where_its_flags_say_so() -> None:
    levels = guided_process(train_steps=4000)
    plain, scaled = (tables(guided(levels=levels, t_scale=scale))["ddpm-03"] for scale in (1.0, 0.25))
    assert [row.t for row in scaled.rows] == [row.t / 4 for row in plain.rows]
    assert scaled.rows[0].c == plain.rows[0].c


def test_a_predicted_image_is_its_own_x0() -> None:
    rows = tables(guided(prediction="sample"))["ddpm-05"].rows
    assert {(row.p, row.q) for row in rows} == {(0.0, 1.0)}


def test_learned_variance_and_no_clip() -> None:
    rows = tables(guided(variance="learned_range"), clip_denoised=False, respacing="10", max_strength=0.5)
    first, *_, last = rows["ddpm-05"].rows
    assert first.log_sigma is not None
    assert (first.clip, last.noisy) == (None, False)


def test_lucidrains_times() -> None:
    process = guided(library="lucidrains", sampler="ddim")
    table = tables(process, steps=10, max_strength=0.4)["ddim-04"]
    assert [row.t for row in table.rows] == [399, 299, 199, 99]  # int(linspace(-1, 999, 11)) downward, without -1
    assert (table.rows[-1].c_state, table.rows[-1].c) == (0.0, (1.0,))


@pytest.mark.parametrize(
    ("process", "settings", "words"),
    [
        (LEADING, {"max_strength": 0.01}, "a strength of 0.01 runs 0"),
        (LEADING, {"sampler": "ddpm", "steps": 1000, "max_strength": 0.5}, "runs 500"),
        (LEADING, {"eta": 0.5}, "--eta"),
        (LEADING, {"respacing": "50"}, "--respacing"),
        (LEADING, {"sampler": "ddpm", "final_sigmas": "zero"}, "--final-sigmas"),
        (LEADING, {"time_scale": 1.0}, "--time-scale"),
        (LEADING, {"scale": 2}, "--scale"),
        (guided(), {"spacing": "leading"}, "--spacing"),
        (guided(), {"steps": 50, "respacing": "50"}, "--steps"),
        (guided(respacing="25"), {"respacing": "50"}, "--respacing"),
        (guided(), {"respacing": "x"}, "respacing"),
        (process_of("x", {"solver_order": 3}, 3), {}, "solver_order 3"),
        (guided(library="lucidrains"), {"sampler": "ddpm"}, "all 1000"),
    ],
)
def test_what_does_not_fit_is_refused(process: Process, settings: dict[str, Any], words: str) -> None:
    with pytest.raises((OptionError, ScheduleError), match=words):
        tables(process, **settings)
