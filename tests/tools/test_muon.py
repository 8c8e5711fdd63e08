"""Muon's update is nearly orthogonal, whatever the gradient's scale."""

from __future__ import annotations

import torch
from torch import nn

from lqhq.tools.muon import Muon, orthogonal


def test_singular_values_come_near_one() -> None:
    gradient = torch.randn(16, 72, generator=torch.Generator().manual_seed(20260305))
    for scale in (1e-6, 1.0, 1e4):
        values = torch.linalg.svdvals(orthogonal(scale * gradient))
        assert values.min() > 0.6
        assert values.max() < 1.3
    assert torch.linalg.svdvals(gradient).max() > 5  # planted: the plain gradient


def test_a_step_goes_against_the_gradient_by_the_rate() -> None:
    weight = nn.Parameter(torch.zeros(4, 2, 3, 3))
    loss = (weight * torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(20260306))).sum()
    torch.autograd.backward(loss)
    assert weight.grad is not None
    Muon([weight]).step(0.01)
    assert (weight * weight.grad).sum() < 0
    values = torch.linalg.svdvals(weight.detach().flatten(1))
    assert values.max() < 0.013
    assert values.min() > 0.006
