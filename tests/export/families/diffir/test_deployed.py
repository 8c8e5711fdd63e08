"""The deployed form is the plain network: every variant, every size, every sample of a batch; and faults are seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lqhq.export.families.diffir import dirformer
from lqhq.export.families.diffir.deployed import DeployedDirformer
from lqhq.export.families.diffir.dirformer import Dirformer, Shape
from lqhq.export.families.diffir.load_official import load

SEED = 5
CLOSE = 1e-5  # of the largest value; float32 in another order
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
DEBLUR = {"tail": False, "scale": 1, "residual": True}
VARIANTS: dict[str, dict[str, Any]] = {
    "x4": {},
    "x2": {"scale": 2},
    "x1": {"scale": 1, "norm_bias": True},
    "biases": {"bias": True, "norm_bias": True},
    "deblur": {**DEBLUR, "norm_bias": True},
    "deblur, biases": {**DEBLUR, "bias": True},
    "inpainting": {**DEBLUR, "residual": False, "channels": 4, "refinement": 0, "norm_bias": True},
    "several heads, multiples of 16": {"dim": 16, "heads": (4, 4, 2, 1), "hidden": (32, 64, 128, 256)},
    "levels without blocks": {"blocks": (1, 0, 1, 0), "hidden": (1, 2, 3, 1)},
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
            parameter.mul_(3)  # or the enlarged input hides what the head adds
        elif name.endswith("bias"):
            parameter.uniform_(-0.5, 0.5)
    return network


def given(network: Dirformer, n: int, high: int, wide: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sides in multiples; every sample has a prior of its own."""
    multiple = 8 * network.shape.fold
    draw = torch.Generator().manual_seed(SEED)
    lq = torch.rand(n, network.shape.channels, high * multiple, wide * multiple, generator=draw)
    return lq, torch.randn(n, dirformer.WIDTH, generator=draw)


def apart(plain: Dirformer, deployed: DeployedDirformer, *sizes: tuple[int, int, int]) -> float:
    """The largest difference, in largest values; never 0 by comparing a thing with itself."""
    worst = 0.0
    for size in sizes or ((1, 2, 3), (3, 3, 2)):
        feed = given(plain, *size)
        with torch.no_grad():
            wanted, found = plain(*feed), deployed(*feed)
        assert found.shape == wanted.shape
        worst = max(worst, float((found - wanted).abs().max() / wanted.abs().max()))
    return worst


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_equals_the_plain_network(variant: str) -> None:
    plain = plain_network(**VARIANTS[variant])
    assert apart(plain, DeployedDirformer(plain)) < CLOSE


def test_the_smallest_image_is_all_border() -> None:
    """8x8: three feature pixels from one border reach past the middle. The deepest level, where normalising over
    one pixel is a sign, is left out."""
    plain = plain_network(blocks=(1, 1, 1, 0))
    assert apart(plain, DeployedDirformer(plain), (2, 1, 1)) < CLOSE


def test_pixels_with_hardly_any_variance() -> None:
    """A flat image: the variance is far below epsilon in places, and a one-pass formula would lose it."""
    plain = plain_network(norm_bias=True)
    deployed = DeployedDirformer(plain)
    lq, z = given(plain, 1, 2, 2)
    flat = 0.5 + 1e-4 * lq
    with torch.no_grad():
        assert (plain(flat, z) - deployed(flat, z)).abs().max() < CLOSE * plain(flat, z).abs().max()


def test_a_head_of_zeros_stays_finite() -> None:
    """q = 0 over the whole image: its norm is clamped, as the plain network's is."""
    plain = plain_network()
    for block in plain.refinement:
        block.attn.qkv.weight[: len(block.attn.qkv.weight) // 3] = 0
    assert apart(plain, DeployedDirformer(plain)) < CLOSE


@pytest.mark.parametrize("name", ["srx4", "srx2", "deblur"])
def test_the_golden_images(name: str, diffir_data: Callable[[str], Path]) -> None:
    folder = diffir_data(name)
    tensors = torch.load(folder / "net_g_latest.pth", weights_only=True)["params_ema"]
    deployed = DeployedDirformer(load(name, tensors, []).G)
    with np.load(folder / "case-a.npz") as case, torch.no_grad():
        found = deployed(torch.from_numpy(case["net_input"]), torch.from_numpy(case["ipr"]))
        assert np.abs(found.numpy() - case["dirformer_out"]).max() < 2e-5


def test_the_plain_network_is_left_alone() -> None:
    plain = plain_network()
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    deployed = DeployedDirformer(plain)
    for tensor in deployed.state_dict().values():
        tensor.zero_()
    assert plain.state_dict().keys() == before.keys()
    assert all(torch.equal(plain.state_dict()[name], tensor) for name, tensor in before.items())


def swap_query_and_key(deployed: DeployedDirformer) -> None:
    attention = deployed.network.refinement[0].attention
    attention.query, attention.key = attention.key, attention.query


def swap_gate_and_value(deployed: DeployedDirformer) -> None:
    forward = deployed.network.refinement[0].feed_forward
    forward.gate, forward.value = forward.value, forward.gate


def mix_with_the_wrong_matrix(deployed: DeployedDirformer) -> None:
    project = deployed.network.refinement[0].attention.mix.project
    project.copy_(project.transpose(1, 2).clone())


def normalise_with_the_other_norm(deployed: DeployedDirformer) -> None:
    norm = deployed.network.refinement[0].attention.norm
    norm.centred = not norm.centred


def use_the_inner_kernel_at_the_border(deployed: DeployedDirformer) -> None:
    tail = deployed.network.tail
    tail.top.inside.load_state_dict({"weight": tail.inner.inside.weight[:, :, 2:], "bias": tail.inner.inside.bias})


FAULTS = (
    swap_query_and_key,
    swap_gate_and_value,
    mix_with_the_wrong_matrix,
    normalise_with_the_other_norm,
    use_the_inner_kernel_at_the_border,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_seen(fault: Callable[[DeployedDirformer], None]) -> None:
    plain = plain_network()
    deployed = DeployedDirformer(plain)
    with torch.no_grad():
        fault(deployed)
    assert apart(plain, deployed) > 10 * CLOSE
