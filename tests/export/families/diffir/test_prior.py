"""The prior's loop against NumPy, for other numbers of steps than the released four."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lqhq.export.families.diffir.prior import Denoiser, PriorSchedule, prior

SEED = 20230316


def oracle(state: dict[str, np.ndarray], betas: np.ndarray, condition: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Posterior means of a diffusion whose network predicts the clean vector, in float64, from the paper's formulas."""
    alphas = 1 - betas
    bar = np.cumprod(alphas)
    before = np.append(1.0, bar[:-1])
    z = noise.astype(np.float64)
    for t in range(len(betas) - 1, -1, -1):
        x = np.concatenate([condition, np.full((len(z), 1), t / (10 * len(betas))), z], axis=1)
        for name in sorted({key.rpartition(".")[0] for key in state}):  # layers in their order
            x = x @ state[f"{name}.weight"].T.astype(np.float64) + state[f"{name}.bias"]
            x = np.where(x > 0, x, 0.1 * x)
        clean = betas[t] * np.sqrt(before[t]) / (1 - bar[t])
        kept = (1 - before[t]) * np.sqrt(alphas[t]) / (1 - bar[t])
        z = clean * x + kept * z
    return z


@pytest.mark.parametrize("steps", [1, 3, 4, 8])
@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_any_number_of_steps_and_blocks(steps: int, blocks: int) -> None:
    torch.manual_seed(SEED)
    denoiser = Denoiser(blocks=blocks)
    betas = np.linspace(0.1**0.5, 0.99**0.5, steps) ** 2
    bar = np.cumprod(1 - betas)
    before = np.append(1.0, bar[:-1])
    schedule = PriorSchedule(
        tuple(betas * np.sqrt(before) / (1 - bar)), tuple((1 - before) * np.sqrt(1 - betas) / (1 - bar))
    )
    condition, noise = (np.random.default_rng(seed).standard_normal((2, 256)).astype(np.float32) for seed in (0, 1))
    with torch.no_grad():
        found = prior(denoiser, schedule, *(torch.from_numpy(array) for array in (condition, noise))).numpy()
    state = {name: tensor.numpy() for name, tensor in denoiser.state_dict().items()}
    assert found == pytest.approx(oracle(state, betas, condition, noise), abs=2e-5)


def test_a_time_that_forgets_the_number_of_steps_is_seen() -> None:
    """The planted fault: t / 40, which is right for four steps only."""
    torch.manual_seed(SEED)
    denoiser = Denoiser(blocks=1)
    condition, noise = (torch.randn(2, 256) for _ in range(2))
    with torch.no_grad():
        right, wrong = (denoiser(noise, 7 / divisor, condition) for divisor in (80, 40))
    assert float((right - wrong).abs().max()) > 1e-4
