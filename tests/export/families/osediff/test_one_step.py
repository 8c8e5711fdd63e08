"""The one step's constants, and that it is float32 in a half-precision network."""

from __future__ import annotations

import math

import pytest
import torch

from lqhq.export.families.osediff.one_step import OneStep, step_constants
from lqhq.export.half import halved


def test_constants_of_stable_diffusion():
    found = step_constants(0.00085, 0.012, 1000)
    assert found == (0.06826488673686981, 0.9976672530174255)


@pytest.mark.parametrize(("start", "end"), [(0.00085, 0.012), (0.0001, 0.02)])
def test_constants_against_float64(start, end):
    bar = 1.0
    for i in range(1000):
        bar *= 1 - (math.sqrt(start) + (math.sqrt(end) - math.sqrt(start)) * i / 999) ** 2
    found = step_constants(start, end, 1000)
    assert found.signal == pytest.approx(math.sqrt(bar), rel=1e-6)
    assert found.noise == pytest.approx(math.sqrt(1 - bar), rel=1e-6)
    assert step_constants(start, end * 1.01, 1000).signal != pytest.approx(math.sqrt(bar), rel=1e-6)


def test_undoes_the_forward_process():
    draw = torch.Generator().manual_seed(8)
    x0, eps = (torch.randn(2, 4, 3, 5, generator=draw) for _ in range(2))
    constants = step_constants(0.00085, 0.012, 1000)
    found = OneStep(constants)(constants.signal * x0 + constants.noise * eps, eps)
    assert (found - x0).abs().max() < 5e-6


def test_half_precision_does_not_round_it():
    step = OneStep(step_constants(0.00085, 0.012, 1000))
    draw = torch.Generator().manual_seed(9)
    state, eps = torch.randn(1, 4, 3, 5, generator=draw), torch.randn(1, 4, 3, 5, generator=draw).half()
    found = halved(step, torch.float16, ())(state, eps)
    assert torch.equal(found, step(state, eps.float()))
    assert not torch.equal(found, found.half().float())
