"""The form for half precision is the plain network, and what overflows elsewhere stays small in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lqhq.export.families.diffir import dirformer
from lqhq.export.families.diffir.deployed import DeployedDirformer
from lqhq.export.families.diffir.deployed_block import DeployedBlock, ModulatedNorm, Scores
from lqhq.export.families.diffir.dirformer import Dirformer, Shape
from lqhq.export.families.diffir.half_block import ISLANDS, HalfNorm, Normalised, Softmax, UnitRows, UnitScores
from lqhq.export.half import declared_islands, halved
from lqhq.export.half_arithmetic import HalfArithmetic

SEED = 5
CLOSE = 1e-5  # of the largest value; float32 in another order
DEBLUR = {"tail": False, "scale": 1, "residual": True}
SMALL: dict[str, Any] = {
    "channels": 3,
    "dim": 8,
    "blocks": (2, 1, 1, 1),
    "refinement": 1,
    "heads": (1, 2, 4, 8),
    "hidden": (17, 35, 70, 140),
    "bias": False,
    "norm_bias": False,
    "tail": True,
    "scale": 4,
    "residual": False,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "x4": {},
    "centred norms": {"scale": 1, "norm_bias": True},
    "deblur, biases": {**DEBLUR, "bias": True, "norm_bias": True},
    "inpainting": {**DEBLUR, "residual": False, "channels": 4, "refinement": 0},
}


def plain_network(**changed: Any) -> Dirformer:
    """Random weights of a size at which every part of the network matters to the output."""
    torch.manual_seed(SEED)
    network = Dirformer(Shape(**(SMALL | changed))).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.uniform_(0.5, 1.5)
        elif "temperature" in name:
            parameter.uniform_(0.5, 4)
        elif "tail" in name:
            parameter.mul_(3)
        elif name.endswith("bias"):
            parameter.uniform_(-0.5, 0.5)
    return network


@torch.no_grad()
def apart(plain: Dirformer, deployed: nn.Module) -> float:
    """The largest difference, in largest values."""
    draw, multiple = torch.Generator().manual_seed(SEED), 8 * plain.shape.fold
    lq = torch.rand(2, plain.shape.channels, 2 * multiple, 3 * multiple, generator=draw)
    z = torch.randn(2, dirformer.WIDTH, generator=draw)
    wanted = plain(lq, z)
    return float((deployed(lq, z) - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_equals_the_plain_network_in_float32(variant):
    plain = plain_network(**VARIANTS[variant])
    half = DeployedDirformer(plain, half=True)
    assert apart(plain, half) < CLOSE
    kinds = [type(module) for module in half.modules()]
    assert not {ModulatedNorm, Scores} & set(kinds)
    blocks = kinds.count(DeployedBlock)
    assert (kinds.count(HalfNorm), kinds.count(UnitScores)) == (2 * blocks, blocks)


def test_the_other_form_is_left_as_it_is():
    kinds = {type(module) for module in DeployedDirformer(plain_network()).modules()}
    assert {ModulatedNorm, Scores} <= kinds
    assert not {HalfNorm, UnitScores} & kinds


def forget_the_temperature(block: DeployedBlock) -> None:
    block.attention.scores.softmax.temperature.fill_(1)


def swap_query_and_key_of_unlike_lengths(block: DeployedBlock) -> None:
    block.attention.scores.unit_k = nn.Identity()


def normalise_with_the_other_norm(block: DeployedBlock) -> None:
    norm = block.feed_forward.norm.normalised
    norm.centred = not norm.centred


def swap_scale_and_shift(block: DeployedBlock) -> None:
    modulation = block.attention.norm.modulation
    modulation.scale, modulation.shift = modulation.shift, modulation.scale


FAULTS = (
    forget_the_temperature,
    swap_query_and_key_of_unlike_lengths,
    normalise_with_the_other_norm,
    swap_scale_and_shift,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_seen(fault: Callable[[DeployedBlock], None]):
    plain = plain_network()
    half = DeployedDirformer(plain, half=True)
    with torch.no_grad():
        fault(half.network.refinement[0])
    assert apart(plain, half) > 10 * CLOSE


def scores(dtype: torch.dtype, form: Callable[[Scores], nn.Module], size: float) -> tuple[torch.Tensor, float]:
    """The scores of q and k of `size`, and the largest half-precision value on the way to them."""
    draw = torch.Generator().manual_seed(SEED)
    q, k = (size * torch.randn(1, 2, 4, 400, generator=draw) for _ in range(2))
    module = form(Scores(torch.full((2, 1, 1), 3.0)))
    half = halved(module, dtype, declared_islands(module, ISLANDS)) if dtype != torch.float32 else module
    arithmetic = HalfArithmetic()
    with torch.no_grad(), arithmetic:
        found = half(q.to(dtype), k.to(dtype))
    products = [value for (_, name), value in arithmetic.largest.items() if name == "bmm"]
    return found, max(products, default=0.0)


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0, 1e4])
def test_scores_stay_at_most_one_before_the_softmax(size):
    wanted, _ = scores(torch.float32, lambda plain: plain, size)
    found, largest = scores(torch.float16, UnitScores, size)
    assert 0 < largest <= 1.001
    assert (found.float() - wanted).abs().max() < 3e-3


def test_divided_late_they_overflow():
    """What the form is for: a product over all pixels of q and k of 50 is past 65504, though the scores are small."""
    found, largest = scores(torch.float16, lambda plain: plain, 50.0)
    assert largest > 65504 / 4
    found, largest = scores(torch.float16, lambda plain: plain, 1e3)
    assert largest == float("inf")
    assert not torch.isfinite(found).all()


def test_rows_of_zeros_stay_zero():
    assert torch.equal(UnitRows()(torch.zeros(1, 1, 2, 5)), torch.zeros(1, 1, 2, 5))


@torch.no_grad()
def test_norms_of_large_values_need_their_island():
    """A thousand squared is past 65504; without the island the result is lost."""
    x = 1000 * torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(SEED))
    gain, zero = torch.ones(1, 8), torch.zeros(1, 8)
    wanted = Normalised(centred=True)(x, gain, zero)
    holder = nn.ModuleDict({"norm": Normalised(centred=True)})
    island, lost = (halved(holder, torch.float16, names).module["norm"] for names in (["norm"], []))
    halves = (x.half(), gain.half(), zero.half())
    assert (island(*halves).float() - wanted).abs().max() < 5e-3
    assert (lost(*halves).float() - wanted).abs().max() > 0.5


def test_the_islands_are_the_norms_rows_and_softmaxes():
    names = declared_islands(DeployedDirformer(plain_network(), half=True), ISLANDS)
    parts = ("attention.norm.normalised", "feed_forward.norm.normalised")
    parts += ("attention.scores.unit_q", "attention.scores.unit_k", "attention.scores.softmax")
    assert {name for name in names if name.startswith("network.refinement.0.")} == {
        f"network.refinement.0.{part}" for part in parts
    }
    assert {Normalised, UnitRows, Softmax} == set(ISLANDS)
