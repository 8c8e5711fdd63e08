"""SR3-style state dicts with their JSON config."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lqhq.export.families.indi.load_sr3 import load
from lqhq.export.families.indi.sr3_unet import Sr3Shape, Sr3UNet
from lqhq.export.family import Weights
from lqhq.runtime.errors import CheckpointError

SHAPE = {
    "in_channels": 3,
    "out_channels": 3,
    "width": 8,
    "widths": (8, 16, 16),
    "blocks": 1,
    "attention": frozenset({1}),
    "groups": 4,
}


def built(**changes) -> tuple[Sr3UNet, Weights]:
    torch.manual_seed(1)
    network = Sr3UNet(Sr3Shape(**(SHAPE | changes))).eval()
    return network, Weights(where="w.pth", tensors=dict(network.state_dict()), config={})


def test_the_golden_forward(golden_model, goldens):
    model, folder = golden_model("f_sr3"), goldens["f_sr3"].path.parent
    data = np.load(folder / "f_sr3.forward.npz")
    for x, out in (("x", "out"), ("x_rect", "out_rect")):
        for t, wanted in zip(data["t"], data[out], strict=True):
            state = torch.from_numpy(data[x])
            found = model.network.module(state, torch.full((len(state),), float(t)))
            assert np.abs(found.numpy() - wanted).max() < 2e-5


@pytest.mark.parametrize(
    ("shape", "unet"),
    [
        ({}, {"channel_multiplier": [1, 2, 2], "attn_res": 16, "image_size": 32}),
        ({"blocks": 2, "attention": frozenset()}, {"res_blocks": 2, "attn_res": [], "image_size": 32}),
        ({"widths": (8,), "attention": frozenset({0})}, {"channel_mults": [1], "attn_res": [7], "image_size": 7}),
        ({"attention": frozenset({0, 2})}, {"attn_res": [33, 8], "image_size": 33}),
        ({"groups": 8}, {"norm_groups": 8}),
    ],
)
def test_other_shapes_load_from_their_own_weights(shape, unet):
    network, weights = built(**shape)
    loaded = load(weights, {"unet": {"norm_groups": 4} | unet})
    state, t = torch.rand(2, 3, 16, 24), torch.tensor([0.1, 0.9])
    with torch.no_grad():
        assert torch.equal(loaded.module(state, t), network(state, t))


@pytest.mark.parametrize(
    ("unet", "words"),
    [
        ({"norm_groups": None}, "norm_groups"),
        ({"norm_groups": 3}, "divides every width"),
        ({"in_channel": 6}, "in_channel"),
        ({"inner_channel": 16}, "inner_channel"),
        ({"channel_mults": [1, 2]}, "channel_mults"),
        ({"channel_multiplier": [1, 2, 4]}, "channel_multiplier"),
        ({"res_blocks": 2}, "res_blocks"),
        ({"attn_res": [8], "image_size": 32}, "attn_res"),
        ({"attn_res": [8]}, "image_size"),
        ({"heads": 4}, "heads"),
    ],
)
def test_configs_that_do_not_fit_are_refused(unet, words):
    _, weights = built()
    with pytest.raises(CheckpointError, match=words):
        load(weights, {"unet": {"norm_groups": 4} | unet})


def test_other_networks_and_halves_are_refused():
    for shape, words in (({"in_channels": 6}, "conditioning image"), ({"out_channels": 6}, "learned variance")):
        with pytest.raises(CheckpointError, match=words):
            load(built(**shape)[1], {"unet": {"norm_groups": 4}})
    _, weights = built()
    cut = {name: tensor for name, tensor in weights.tensors.items() if not name.startswith("ups.3")}
    with pytest.raises(CheckpointError, match=r"missing: ups\.3"):
        load(Weights(where="w", tensors=cut, config={}), {"unet": {"norm_groups": 4}})


def test_a_joint_checkpoint_loads_the_side_that_the_config_names(golden_model, goldens, tmp_path):
    inner = torch.load(goldens["f_sr3"].path, weights_only=True)
    other = {name: tensor + 1 for name, tensor in inner.items()}
    joint = {f"indi1.{name}": tensor for name, tensor in inner.items()}
    joint |= {f"indi2.{name}": tensor for name, tensor in other.items()} | {"alpha_param": torch.ones(1)}
    torch.save(joint, tmp_path / "joint.pth")
    with pytest.raises(CheckpointError, match="no name that starts with 'denoise_fn"):
        golden_model("f_sr3", path=tmp_path / "joint.pth")
    model = golden_model("f_sr3", path=tmp_path / "joint.pth", key_prefix="indi1.denoise_fn.")
    weight = model.network.module.state_dict()["final_conv.block.3.bias"]
    assert torch.equal(weight, inner["denoise_fn.final_conv.block.3.bias"])
    assert any("set aside 164 others" in note for note in model.notes)
    assert json.loads(json.dumps(dict(model.config)))["key_prefix"] == "indi1.denoise_fn."
