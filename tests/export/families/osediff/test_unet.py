"""The deployed UNet against diffusers' own, at sizes that its halvings do not divide."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from lqhq.export.families.osediff.network import load_osediff
from lqhq.export.families.osediff.oracle import PlainDenoise
from lqhq.export.families.osediff.unet import BakedUnet, DeployedUnet, score_bytes
from lqhq.export.families.osediff.unet_blocks import Upsample

SIZES = [(1, 8, 6), (2, 6, 9), (1, 22, 29), (3, 12, 12), (1, 1, 1), (2, 3, 5), (1, 1, 7), (1, 2, 1)]


def draw(model, n, high, wide):
    seed = torch.Generator().manual_seed(high * 100 + wide)
    state = torch.randn(n, 4, high, wide, generator=seed)
    return state, torch.randn(n, 77, model.width, generator=seed)


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_every_size(golden, size):
    state, cond = draw(golden, *size)
    deployed, plain = DeployedUnet(golden.unet, golden.constants), PlainDenoise(golden)
    wanted = plain(state, cond)
    assert (deployed(state, cond) - wanted).abs().max() < 2e-4
    baked = BakedUnet(golden.unet, golden.constants, cond[:1])
    assert (baked(state) - PlainDenoise(golden, cond[:1])(state)).abs().max() < 2e-4
    other = PlainDenoise(golden)  # the planted fault: another timestep
    eps = golden.unet(state, 998, cond, return_dict=False)[0]
    assert ((state - other.noise * eps) / other.signal - wanted).abs().max() > 2e-4


@pytest.mark.parametrize("linear", [True, False])
@torch.no_grad()
def test_projections(synthetic, linear):
    model = load_osediff(*synthetic(unet={"use_linear_projection": linear}))
    state, cond = draw(model, 2, 5, 7)
    wanted = PlainDenoise(model)(state, cond)
    found = DeployedUnet(model.unet, model.constants)(state, cond)
    assert (found - wanted).abs().max() < 2e-5 * max(1.0, wanted.abs().max())


@pytest.mark.parametrize("side", [*range(1, 12), 95, 96, 511, 512])
def test_doubling_and_cutting_is_nearest_interpolation(side):
    x = torch.arange((side + 1) // 2, dtype=torch.float32)[None, None, None].expand(1, 1, 2, -1)
    conv = torch.nn.Identity()
    found = Upsample(type("Sampler", (), {"conv": conv}))(x, torch.empty(1, 1, 3, side))
    assert torch.equal(found, functional.interpolate(x, size=(3, side), mode="nearest"))


def test_weights_are_shared_but_for_the_first_biases(golden):
    plain = {tensor.data_ptr() for tensor in golden.unet.parameters()}
    own = [
        n
        for n, tensor in DeployedUnet(golden.unet, golden.constants).named_parameters()
        if tensor.data_ptr() not in plain
    ]
    assert own
    assert all(name.endswith("conv1.bias") for name in own)
    assert len(own) == sum(name.endswith("time_emb_proj") for name, _ in golden.unet.named_modules())


def test_bytes_of_scores(golden):
    assert golden.heads == 2
    assert score_bytes(5) * 4096**2 == 2 * (5 * 4096 * 4096 * 4)
