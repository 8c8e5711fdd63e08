"""Bounds that follow the network: never below the floors, never above half a level."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lqhq.export.families import FAMILIES
from lqhq.export.family import RoleGraph
from lqhq.export.goldens import synthetic_image
from lqhq.export.load import load_model
from lqhq.export.sensitivity import MOST, forward_bound, tolerances
from lqhq.runtime.manifest import Tensor
from lqhq.runtime.parity import FINISHED, FORWARD, MOST_CHANGED, MOST_FORWARD, TRAJECTORY


class Steep(torch.nn.Module):
    """Enlarges whatever it gets."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.gain * x)


@pytest.fixture
def recipe(film, recipe_of):
    loaded = load_model(FAMILIES[0], film(schedules={"slow": {"steps": 10}}))
    return lambda gain: recipe_of(loaded, Steep(gain))


def test_calm_networks_get_the_floors(recipe):
    assert tolerances(recipe(0.5), synthetic_image(9, 11), schedule="slow", noise={}) == (TRAJECTORY, FINISHED)


class Large(torch.nn.Module):
    """Gives values of 4.6, which the clamp takes away."""

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return 4.6 * torch.sign(x)


def test_large_values_raise_the_floor_in_proportion(film, recipe_of):
    large = recipe_of(load_model(FAMILIES[0], film()), Large())
    floats, _ = tolerances(large, synthetic_image(9, 11), schedule="fast", noise={})
    assert floats.max_abs == pytest.approx(4.6 * TRAJECTORY.max_abs)


def test_steep_networks_get_more_but_not_without_end(recipe):
    floats, levels = tolerances(recipe(9.0), synthetic_image(9, 11), schedule="slow", noise={})
    assert TRAJECTORY.max_abs < floats.max_abs <= MOST
    assert levels.max_abs == FINISHED.max_abs
    wild, some = tolerances(recipe(300.0), synthetic_image(9, 11), schedule="slow", noise={})
    assert wild.max_abs == MOST
    assert some.changed == MOST_CHANGED  # what a bundle's own check still takes


class Quotient(torch.nn.Module):
    """A difference of near equals divided by a small number: rounding of the weights is all that remains."""

    def __init__(self, divisor: float) -> None:
        super().__init__()
        self.weights, self.divisor = torch.nn.Parameter(torch.tensor([1.0, 1.0])), divisor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + (x * self.weights[0] - x * self.weights[1]) / self.divisor


@pytest.mark.parametrize(("divisor", "least", "most"), [(1.0, 2e-5, 2e-5), (1e-2, 2e-5, 1e-3), (1e-6, 4e-3, 4e-3)])
def test_one_call_of_a_network_that_enlarges_rounding_gets_more(divisor, least, most):
    module, vector = Quotient(divisor), Tensor(dtype="float32", shape=("N", 4))
    graph = RoleGraph(
        role="encode",
        module=module,
        plain=module,
        inputs={"pooled": vector},
        outputs={"cond": vector},
        examples=lambda draw, n, height, width: {},
    )
    feed = {"pooled": np.ones((1, 4), np.float32)}
    before = module.weights.detach().clone()
    bound = forward_bound(graph, feed)
    assert least <= bound <= most
    assert FORWARD.max_abs <= bound <= MOST_FORWARD
    assert torch.equal(module.weights, before)  # moved, and put back
    if divisor == 1e-2:
        assert bound > FORWARD.max_abs
