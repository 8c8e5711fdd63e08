"""Steps and coefficients come from the stored buffers, which must agree with each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lqhq.export.families.diffir.stored_schedule import BUFFERS, MAX_STEPS, coefficients, stored_schedule
from lqhq.runtime.errors import CheckpointError

C1 = "diffusion.posterior_mean_coef1"


def _buffers(official, **told) -> dict[str, torch.Tensor]:
    tensors = {name: tensor for name, tensor in official(**told)[1].items() if tensor.dim() == 1}
    return {name: tensor for name, tensor in tensors.items() if name.removeprefix("diffusion.") in BUFFERS}


def test_the_released_schedule(official):
    """T = 4 from 0.1 to 0.99: numbers of the official code."""
    schedule = stored_schedule("w.pth", _buffers(official))
    assert np.allclose(schedule.c1, [1, 0.765186906, 0.636269748, 0.505926788], atol=1e-8)
    assert np.allclose(schedule.c2, [0, 0.230245799, 0.315255642, 0.0742124319], atol=1e-8)


def test_the_formula_is_bayes_with_two_gaussians():
    """An oracle written differently: precision-weighted means of q(z_t | z_{t-1}) and q(z_{t-1} | z_0)."""
    betas = np.array([0.1, 0.3, 0.6, 0.99])
    c1, c2 = coefficients(betas)
    bar = np.cumprod(1 - betas)
    for t in range(1, 4):
        forward, before = (1 - betas[t]) / betas[t], 1 / (1 - bar[t - 1])  # precisions of z_{t-1} from either side
        assert np.isclose(c2[t], forward / np.sqrt(1 - betas[t]) / (forward + before))
        assert np.isclose(c1[t], before * np.sqrt(bar[t - 1]) / (forward + before))


@pytest.mark.parametrize(
    ("steps", "start", "end"), [(1, 0.5, 0.5), (8, 0.1, 0.999), (1000, 1e-4, 0.02), (2, 1e-6, 0.9)]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_other_schedules_and_their_half_precision(official, steps, start, end, dtype):
    stored = {name: tensor.to(dtype) for name, tensor in _buffers(official, steps=steps, start=start, end=end).items()}
    schedule = stored_schedule("w.pth", stored)
    assert schedule.steps == steps
    assert schedule.c1 == tuple(stored[C1].tolist())  # as stored, not as computed


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("posterior_mean_coef1", torch.tensor([1.0, 0.7653, 0.6363, 0.5059]), "coef1: found 1, 0.7653"),
        ("posterior_mean_coef2", torch.tensor([0.0, 0.2302458, 0.3152556, 0.0752124]), "as its betas give"),
        ("posterior_mean_coef2", torch.zeros(5), r"coef2: found \[5\] torch.float32"),
        ("betas", torch.tensor([0.1, 0.3, 0.6, 1.5]), "each in"),
        ("betas", torch.tensor([0.0, 0.3, 0.6, 0.9]), "each in"),
        ("betas", torch.tensor([1e-30, 1e-30, 0.6, 0.9]), "as its betas give"),
        ("betas", torch.tensor([1, 2, 3, 4]), "torch.int64"),
        ("betas", torch.rand(4, 1), r"found \[4, 1\]"),
        ("posterior_variance", torch.rand(3), "posterior_variance: found"),
        ("posterior_mean_coef1", torch.tensor(1.0), "no usable tensor diffusion.posterior_mean_coef1"),
        ("betas", None, "no usable tensor diffusion.betas"),
    ],
)
def test_buffers_that_do_not_fit_are_refused(official, name, value, words):
    stored = _buffers(official) | {f"diffusion.{name}": value}
    with pytest.raises(CheckpointError, match=words):
        stored_schedule("w.pth", {key: tensor for key, tensor in stored.items() if tensor is not None})


def test_no_steps_and_too_many_are_refused(official):
    stored = _buffers(official)
    with pytest.raises(CheckpointError, match="found values none"):
        stored_schedule("w.pth", {name: tensor[:0] for name, tensor in stored.items()})
    long = _buffers(official, steps=MAX_STEPS + 1, start=1e-4, end=0.02)
    with pytest.raises(CheckpointError, match="T from 1 to 1000"):
        stored_schedule("w.pth", long)


def test_the_unused_buffers_may_be_absent(official):
    stored = _buffers(official)
    kept = {name: stored[name] for name in stored if name.endswith(("betas", "coef1", "coef2"))}
    assert stored_schedule("w.pth", kept) == stored_schedule("w.pth", stored)
