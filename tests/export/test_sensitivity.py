"""Bounds that follow the network: never below the floors, never above half a level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor as Torch

from lqhq.export import sensitivity as subject
from lqhq.export.families import FAMILIES
from lqhq.export.family import RoleGraph
from lqhq.export.goldens import synthetic_image
from lqhq.export.load import load_model
from lqhq.export.sensitivity import MOST, WEIGHT_JITTER, forward_bound, tolerances
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


def graph_of(module: torch.nn.Module) -> RoleGraph:
    vector = Tensor(dtype="float32", shape=("N", 4))
    return RoleGraph(
        role="encode",
        module=module,
        plain=module,
        inputs={"pooled": vector},
        outputs={"cond": vector},
        examples=lambda draw, n, height, width: {},
    )


@pytest.mark.parametrize(("divisor", "least", "most"), [(1.0, 2e-5, 2e-5), (1e-2, 2e-5, 1e-3), (1e-6, 4e-3, 4e-3)])
def test_one_call_of_a_network_that_enlarges_rounding_gets_more(divisor, least, most):
    module = Quotient(divisor)
    graph = graph_of(module)
    feed = {"pooled": np.ones((1, 4), np.float32)}
    before = module.weights.detach().clone()
    bound = forward_bound(graph, feed)
    assert least <= bound <= most
    assert FORWARD.max_abs <= bound <= MOST_FORWARD
    assert torch.equal(module.weights, before)  # moved, and put back
    if divisor == 1e-2:
        assert bound > FORWARD.max_abs


# Weights are moved while their module runs


class Leaf(torch.nn.Module):
    """Tells what weights there are while it runs, and may fail then."""

    def __init__(self, whole: Whole, *, fails: bool = False) -> None:
        super().__init__()
        self.weight, self.fails = torch.nn.Parameter(torch.linspace(1, 2, 50)), fails
        self.look = whole.look

    def forward(self, x: Torch) -> Torch:
        self.look()
        if self.fails:
            raise RuntimeError("a fault inside")
        return x + self.weight.sum()


class Whole(torch.nn.Module):
    """Two leaves and a weight of its own; the second leaf runs twice."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.own = torch.nn.Parameter(torch.linspace(-2, -1, 50))
        self.first, self.second = Leaf(self), Leaf(self, fails=fails)
        self.seen: list[set[str]] = []
        self.before = {name: one.detach().clone() for name, one in self.named_parameters()}

    def look(self) -> None:
        """Note which weights are moved now, and that none is moved by more than it should."""
        self.seen.append({name for name, one in self.named_parameters() if not torch.equal(one, self.before[name])})
        for name, one in self.named_parameters():
            assert ((one - self.before[name]).abs() <= 1.2 * WEIGHT_JITTER * self.before[name].abs()).all()

    def forward(self, x: Torch) -> Torch:
        self.look()
        return self.second(self.second(self.first(x))) + self.own.sum()


def is_as_it_was(module: Whole, places: dict[str, int]) -> bool:
    """The same tensors with the same values, and no hook left."""
    hooked = any(one._forward_hooks or one._forward_pre_hooks for one in module.modules())
    return not hooked and all(
        one.data_ptr() == places[name] and torch.equal(one, module.before[name])
        for name, one in module.named_parameters()
    )


def test_each_modules_weights_are_moved_while_it_runs_and_no_others():
    module = Whole()
    places = {name: one.data_ptr() for name, one in module.named_parameters()}
    with torch.no_grad(), subject._moved_weights([graph_of(module)] * 2):  # a network of two roles is moved once
        module(torch.zeros(1, 4))
    inside = [{"own"}, {"own", "first.weight"}, {"own", "second.weight"}, {"own", "second.weight"}]
    assert module.seen == inside
    assert is_as_it_was(module, places)


def test_weights_are_put_back_after_a_fault():
    module = Whole(fails=True)
    places = {name: one.data_ptr() for name, one in module.named_parameters()}
    with pytest.raises(RuntimeError, match="a fault inside"), subject._moved_weights([graph_of(module)]):
        module(torch.zeros(1, 4))
    assert module.seen[-1] == {"own", "second.weight"}
    assert is_as_it_was(module, places)


def test_a_weight_that_is_not_put_back_is_seen(monkeypatch):
    """The planted fault."""
    module = Whole(fails=True)
    places = {name: one.data_ptr() for name, one in module.named_parameters()}
    monkeypatch.setattr(subject._Moved, "after", lambda self, module, args, output: None)
    with pytest.raises(RuntimeError, match="a fault inside"), subject._moved_weights([graph_of(module)]):
        module(torch.zeros(1, 4))
    assert not is_as_it_was(module, places)


def test_a_weight_of_two_modules_is_put_back():
    """The inner one moves what the outer one moved, and puts that back first."""
    module = Whole()
    module.second.weight = module.own
    for one in (module, module.first, module.second):
        one.look = lambda: None  # moved twice is more than once
    kept, place = module.own.detach().clone(), module.own.data_ptr()
    with torch.no_grad(), subject._moved_weights([graph_of(module)]):
        module(torch.zeros(1, 4))
    assert torch.equal(module.own, kept)
    assert module.own.data_ptr() == place
