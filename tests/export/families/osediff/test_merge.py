"""Merging against side branches, at other ranks and widths than the goldens', and adapters of other bases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from lqhq.export.families.osediff.adapter import load_adapter
from lqhq.export.families.osediff.base_folder import load_base
from lqhq.export.families.osediff.graphs import graphs
from lqhq.export.families.osediff.merge import merge
from lqhq.export.families.osediff.network import load_osediff
from lqhq.runtime.errors import CheckpointError

CASES = {
    "ranks 6 and 3": {"rank_unet": 6, "rank_vae": 3},
    "projections by convolution": {"rank_unet": 3, "rank_vae": 1, "unet": {"use_linear_projection": False}},
    "three levels, two layers": {
        "rank_unet": 2,
        "rank_vae": 8,
        "unet": {
            "block_out_channels": [8, 12, 16],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "layers_per_block": 2,
            "attention_head_dim": 4,
            "transformer_layers_per_block": 2,
        },
    },
}


def branched(network, pairs, rank):
    """Evaluate the pairs beside their layers, as peft does without merging."""
    for name, pair in pairs.items():

        def add(layer, args, output, pair=pair):
            if isinstance(layer, torch.nn.Linear):
                side = functional.linear(functional.linear(args[0], pair.down), pair.up)
            else:
                x = functional.conv2d(args[0], pair.down, stride=layer.stride, padding=layer.padding)
                side = functional.conv2d(x, pair.up)
            return output + 8 / rank * side

        network.get_submodule(name).register_forward_hook(add)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_merged_equals_side_branches(synthetic, name):
    file, folder = synthetic(**CASES[name])
    model, base, adapter = load_osediff(file, folder), load_base(folder), load_adapter(file)
    roles = {graph.role: graph for graph in graphs(model)}
    for key, tensor in zip(("weight", "bias"), adapter.conv_in, strict=True):
        base.unet.get_parameter(f"conv_in.{key}").copy_(tensor)
    branched(base.unet, adapter.unet, adapter.rank_unet)
    branched(base.vae, adapter.vae, adapter.rank_vae)
    feed = {k: torch.from_numpy(v) for k, v in roles["denoise"].examples(np.random.default_rng(5), 2, 5, 7).items()}
    eps = base.unet(feed["state"], 999, feed["cond"], return_dict=False)[0]
    found = roles["denoise"].module.trunk(feed["state"], feed["cond"])
    assert (found - eps).abs().max() < 1e-5 * max(1.0, eps.abs().max())
    feed = {k: torch.from_numpy(v) for k, v in roles["encode"].examples(np.random.default_rng(6), 2, 5, 7).items()}
    mean = base.vae.encode(feed["lq"]).latent_dist.mean
    found = roles["encode"].module(feed["lq"], torch.zeros_like(feed["noise"])) / model.scaling
    assert (found - mean).abs().max() < 1e-5 * max(1.0, mean.abs().max())
    base.unet.get_submodule("conv_in")._forward_hooks.clear()  # the planted fault: one branch less
    other = base.unet(*(feed["noise"], 999), model.embed(torch.zeros(2, 77, dtype=torch.long)), return_dict=False)[0]
    merged = model.unet(*(feed["noise"], 999), model.embed(torch.zeros(2, 77, dtype=torch.long)), return_dict=False)[0]
    assert (other - merged).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cross_attention_dim": 12, "block_out_channels": [8, 24]}, "another base model"),
        ({"layers_per_block": 2}, "no pair for|pairs for|shapes that fit"),
        ({"use_linear_projection": False}, "proj_in"),
    ],
)
def test_adapters_of_another_base(synthetic, change, word):
    file, _ = synthetic(unet=change)
    _, other = synthetic()
    base = load_base(other)
    before = {name: tensor.clone() for name, tensor in base.unet.state_dict().items()}
    with pytest.raises(CheckpointError, match=word) as error:
        merge(load_adapter(file), base.unet, base.vae)
    assert "--base" in error.value.mend
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.unet.state_dict().items())


def test_modules_that_the_base_has_not(synthetic):
    def change(content):
        content["unet_lora_others_modules"].append("mid_block.extra")
        for half in "AB":
            content["state_dict_unet"][f"mid_block.extra.lora_{half}.default_others.weight"] = torch.zeros(6, 6)

    with pytest.raises(CheckpointError, match=r"mid_block\.extra"):
        load_osediff(*synthetic(change=change))


def test_modules_that_the_adapter_says_nothing_about(synthetic):
    def change(content):
        content["unet_lora_decoder_modules"].remove("conv_out")
        for half in "AB":
            del content["state_dict_unet"][f"conv_out.lora_{half}.default_decoder.weight"]

    with pytest.raises(CheckpointError, match="no pair for conv_out"):
        load_osediff(*synthetic(change=change))


def test_an_input_convolution_of_another_shape(synthetic):
    def change(content):
        content["state_dict_unet"]["conv_in.base_layer.bias"] = torch.zeros(9)

    with pytest.raises(CheckpointError, match=r"conv_in\.base_layer\.bias"):
        load_osediff(*synthetic(change=change))


def test_stable_diffusion_1_is_told_by_name(synthetic):
    from diffusers import UNet2DConditionModel

    file, folder = synthetic()
    base = load_base(folder)
    config = {**dict(base.unet.config), "cross_attention_dim": 768, "use_linear_projection": False}
    other = UNet2DConditionModel.from_config(config).requires_grad_(False)
    with pytest.raises(CheckpointError, match="looks like Stable Diffusion 1"):
        merge(load_adapter(file), other, base.vae)
