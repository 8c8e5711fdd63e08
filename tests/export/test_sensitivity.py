"""Bounds that follow the network: never below the floors, never above half a level."""

from __future__ import annotations

import pytest
import torch

from lqhq.export.families import FAMILIES
from lqhq.export.goldens import synthetic_image
from lqhq.export.load import load_model
from lqhq.export.sensitivity import MOST, tolerances
from lqhq.runtime.parity import FINISHED, MOST_CHANGED, TRAJECTORY


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
