"""The trainer of synthesis: a step learns, a state goes on as it was, and the folder is the official one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from lqhq.tools import train_lq_ddpm
from lqhq.tools.train_lq_ddpm import CONFIG, STRONGEST, Run, noise_error, scheduler

SEED = 20261122
SMALL = {**CONFIG, "block_out_channels": (8, 8, 8, 8), "sample_size": 16}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    # A network this small takes larger steps, and shows within a few that it learns.
    for name, value in {"CONFIG": SMALL, "WARM_UP": 2, "RATE": 1e-2, "MATRIX_RATE": 0.02}.items():
        monkeypatch.setattr(train_lq_ddpm, name, value)
    torch.manual_seed(SEED)
    return Run()


@pytest.fixture
def flat() -> torch.Tensor:
    """Crops without any content, whose noise is easily found."""
    return torch.full((8, 3, 16, 16), -0.5).to(memory_format=torch.channels_last)


def test_starts_at_the_loss_of_no_prediction_and_learns(run: Run, flat: torch.Tensor) -> None:
    losses = [run.step(flat, 0.0) for _ in range(16)]
    assert losses[0] == pytest.approx(1, abs=0.05)  # the variance of the noise
    assert losses[-1] < 0.6
    assert run.steps == 16
    assert run.judge(flat) < 0.9
    before = [weight.clone() for weight in run.network.parameters()]
    run.step(flat, 1.0)  # a run that is over moves nothing
    assert all(torch.equal(old, new) for old, new in zip(before, run.network.parameters(), strict=True))


def test_judging_draws_the_same_noise_and_leaves_the_generator(run: Run, flat: torch.Tensor) -> None:
    torch.manual_seed(SEED)
    expected = torch.randn(3)
    torch.manual_seed(SEED)
    assert run.judge(flat) == run.judge(flat)
    assert torch.equal(torch.randn(3), expected)


def test_noise_is_of_the_first_quarter(flat: torch.Tensor) -> None:
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
            seen.append((x, t))
            return (torch.zeros_like(x),)

    torch.manual_seed(SEED)
    products = scheduler().alphas_cumprod
    for _ in range(50):
        noise_error(Spy(), flat, products)
    times = torch.cat([t for _, t in seen])
    assert times.min() < 5
    assert STRONGEST - 5 <= times.max() < STRONGEST
    x, t = seen[0]
    sigmas = (x + 0.5 * products[t].sqrt()[:, None, None, None]).flatten(1).std(1)
    assert sigmas.numpy() == pytest.approx((1 - products[t]).sqrt().numpy(), rel=0.15)


def test_schedule_is_the_documented_one() -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    assert scheduler().alphas_cumprod.numpy() == pytest.approx(np.cumprod(1 - betas), rel=1e-4)


def test_state_goes_on(run: Run, flat: torch.Tensor, tmp_path: Path) -> None:
    for _ in range(3):
        run.step(flat, 0.0)
    run.spent = 61.0
    run.curve.append({"minutes": 1.0, "step": 3, "loss": 0.5, "validation": 0.6})
    run.save(tmp_path)
    other = Run()
    other.load(tmp_path)
    assert (other.spent, other.steps, other.curve) == (run.spent, 3, run.curve)
    losses = []
    for each in (run, other):
        torch.manual_seed(SEED)
        losses.append([each.step(flat, 0.5) for _ in range(2)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert not list(tmp_path.glob("*.tmp"))
    assert (tmp_path / "curve.csv").read_text() == "minutes,step,loss,validation\n1.0,3,0.5,0.6\n"


def test_folder_is_the_official_format(run: Run, flat: torch.Tensor, tmp_path: Path) -> None:
    run.step(flat, 0.0)
    run.save(tmp_path)
    loaded = UNet2DModel.from_pretrained(tmp_path / "unet", use_safetensors=True)
    assert {path.name for path in (tmp_path / "unet").iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    # The averaged weights, not the last ones.
    weights = loaded.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in run.average.state_dict().items())
    assert any(not torch.equal(weights[name], value) for name, value in run.network.state_dict().items())
    config = DDPMScheduler.from_pretrained(tmp_path / "scheduler").config
    found = [config[key] for key in ("num_train_timesteps", "beta_start", "beta_end", "prediction_type")]
    assert found == [1000, 1e-4, 0.02, "epsilon"]
    assert config["timestep_spacing"] == "leading"


def test_weights_fit_the_limit() -> None:
    with torch.device("meta"):
        network = UNet2DModel(**CONFIG)
    assert 4 * sum(weight.numel() for weight in network.parameters()) < 8_000_000
