"""Tables of noise processes against those of the libraries that define them."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.errors import OptionError, ScheduleError
from lqhq.runtime.samplers.diffusion import NoiseProcess, diffusers_process, guided_process, posterior
from lqhq.runtime.samplers.timesteps import multistep_timesteps, spaced_timesteps

RESPACINGS = ("1000", "50", "20", "10", "ddim50", "ddim20", "ddim10", "10,15,25")


@pytest.fixture(scope="module")
def diffusers_tables(golden):
    return golden("lq_ddpm-diffusers-tiny/scheduler_tables.npz")


@pytest.fixture(scope="module")
def guided_tables(golden):
    return golden("lq_ddpm-guided-tiny/tables.npz")


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_diffusers_tables_are_bit_equal(diffusers_tables, schedule):
    process = diffusers_process(schedule=schedule)
    assert process.betas.dtype == process.alphas_cumprod.dtype == np.float32
    np.testing.assert_array_equal(process.betas, diffusers_tables[f"{schedule}/betas"])
    np.testing.assert_array_equal(process.alphas_cumprod, diffusers_tables[f"{schedule}/alphas_cumprod"])


def test_scaled_linear_ends_where_stable_diffusion_ends():
    process = diffusers_process(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    assert process.alphas_cumprod[999] == np.float32(0.00466009508818388)


@pytest.mark.parametrize("steps", [10, 20, 50])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_diffusers_timesteps(diffusers_tables, steps, spacing):
    times = spaced_timesteps(steps=steps, spacing=spacing)
    assert list(times) == diffusers_tables[f"linear/ddim_{steps}_{spacing}/timesteps"].tolist()
    times = multistep_timesteps(steps=steps, spacing=spacing)
    assert list(times) == diffusers_tables[f"linear/unipc_{steps}_{spacing}/timesteps"].tolist()


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("respacing", RESPACINGS)
def test_guided_tables(guided_tables, schedule, respacing):
    process = guided_process(schedule=schedule, respacing="" if respacing == "1000" else respacing)
    tables = posterior(process)
    ours = {
        "betas": process.betas,
        "alphas_cumprod": process.alphas_cumprod,
        "posterior_variance": tables.variance,
        "posterior_log_variance_clipped": tables.log_variance_clipped,
        "posterior_mean_coef1": tables.x0_factor,
        "posterior_mean_coef2": tables.state_factor,
        "fixed_large_variance": tables.fixed_large_variance,
    }
    key = f"{schedule}_{respacing.replace(',', '-')}"
    np.testing.assert_array_equal(process.timesteps, guided_tables[f"{key}/timestep_map"])
    for name, table in ours.items():
        assert table.dtype == np.float64
        np.testing.assert_allclose(table, guided_tables[f"{key}/{name}"], rtol=1e-12, atol=0, err_msg=name)


def test_spot_values_of_the_public_tables():
    linear, cosine = guided_process(), guided_process(schedule="cosine")
    assert linear.alphas_cumprod[[0, 999]] == pytest.approx([0.9999, 4.0358e-5], rel=1e-4)
    assert posterior(linear).variance[1] == pytest.approx(5.453188e-5, rel=1e-6)
    assert posterior(linear).x0_factor[1] == pytest.approx(0.54529150, rel=1e-7)
    assert cosine.alphas_cumprod[[0, 999]] == pytest.approx([0.9999587158, 2.4288e-9], rel=1e-4)


def test_tables_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        diffusers_process().betas[0] = 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: diffusers_process(schedule="sigmoid"),
        lambda: diffusers_process(beta_start=0.0),
        lambda: diffusers_process(beta_start=0.02, beta_end=0.01),
        lambda: diffusers_process(train_steps=0),
        lambda: guided_process(schedule="scaled_linear"),
        lambda: guided_process(respacing="0"),
        lambda: guided_process(respacing="1001"),
        lambda: guided_process(respacing="10,,5"),
        lambda: guided_process(respacing="fast"),
        lambda: guided_process(respacing="9" * 5000),
        lambda: guided_process(respacing="ddim999"),
        lambda: posterior(diffusers_process(train_steps=1)),
    ],
)
def test_impossible_processes_are_refused(make):
    with pytest.raises(OptionError, match="expected"):
        make()


def test_a_process_must_fall_and_keep_some_signal():
    betas = np.full(3, 0.1)
    for abar in ([0.9, 0.9, 0.8], [1.0, 0.9, 0.8], [0.9, 0.5, 0.0], [0.9, 0.8]):
        with pytest.raises(ScheduleError, match="zero terminal SNR"):
            NoiseProcess(betas=betas, alphas_cumprod=np.array(abar), timesteps=np.arange(3))
