"""Synthetic official checkpoints of any shape, made with the network itself, and the golden sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lqhq.export.families.diffir.dirformer import Shape
from lqhq.export.families.diffir.network import DiffIR
from lqhq.export.families.diffir.prior import PriorSchedule

SRX4 = {
    "channels": 3,
    "dim": 4,
    "blocks": (1, 1, 1, 1),
    "refinement": 1,
    "heads": (1, 2, 4, 8),
    "hidden": (8, 17, 35, 70),
    "bias": False,
    "norm_bias": False,
    "tail": True,
    "scale": 4,
    "residual": False,
}


def buffers(steps: int, start: float, end: float) -> dict[str, Tensor]:
    """The twelve of the official code, formula by formula, in float64 and then float32."""
    betas = np.linspace(start**0.5, end**0.5, steps) ** 2
    alphas = 1 - betas
    bar = np.cumprod(alphas)
    before = np.append(1.0, bar[:-1])
    variance = betas * (1 - before) / (1 - bar)
    values = {
        "betas": betas,
        "alphas_cumprod": bar,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": np.sqrt(bar),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - bar),
        "log_one_minus_alphas_cumprod": np.log(1 - bar),
        "sqrt_recip_alphas_cumprod": np.sqrt(1 / bar),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / bar - 1),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": betas * np.sqrt(before) / (1 - bar),
        "posterior_mean_coef2": (1 - before) * np.sqrt(alphas) / (1 - bar),
    }
    return {f"diffusion.{name}": torch.tensor(value, dtype=torch.float32) for name, value in values.items()}


def made(
    *,
    encoder_blocks: int = 1,
    denoiser_blocks: int = 1,
    steps: int = 4,
    start: float = 0.1,
    end: float = 0.99,
    seed: int = 11,
    **shape: Any,
) -> tuple[DiffIR, dict[str, Tensor]]:
    """A network with random weights, and the state dict that the official code would store for it."""
    told = Shape(**(SRX4 | shape))
    schedule = buffers(steps, start, end)
    c1, c2 = (tuple(schedule[f"diffusion.posterior_mean_coef{k}"].tolist()) for k in (1, 2))
    torch.manual_seed(seed)
    network = DiffIR(
        told,
        fold=told.fold if told.tail else 4,
        encoder_blocks=encoder_blocks,
        denoiser_blocks=denoiser_blocks,
        schedule=PriorSchedule(c1, c2),
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    own = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    copies = {
        f"diffusion.{'model' if name.startswith('denoise') else 'condition'}.{name.split('.', 1)[1]}": tensor.clone()
        for name, tensor in own.items()
        if not name.startswith("G.")
    }
    return network, {**own, **schedule, **copies}


@pytest.fixture(scope="session")
def official() -> Callable[..., tuple[DiffIR, dict[str, Tensor]]]:
    """`official(steps=4, dim=4, ...)` gives a network and its official state dict; see `made`."""
    return made


@pytest.fixture
def diffir_data(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """`diffir_data("srx4")` is the folder of that golden set."""
    root = Path(__file__).parents[2] / "data"
    return lambda name: root / f"diffir-{name}-tiny"
