"""Every stage of the original, from its golden cases, at the bars of their README."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from lqhq.export.families.osediff.adapter import load_adapter
from lqhq.export.families.osediff.base_folder import load_base
from lqhq.export.families.osediff.graphs import graphs
from lqhq.export.families.osediff.merge import merge
from lqhq.export.families.osediff.network import OseDiff
from lqhq.export.families.osediff.oracle import restore
from lqhq.export.families.osediff.unet import BakedUnet
from lqhq.export.trace import trace
from lqhq.runtime.engines.onnx import OnnxSession

EPS, X0, IMAGE, TEXT, MOMENTS, MERGED = 1e-5, 2e-4, 1e-4, 1e-5, 1e-5, 3e-8


@pytest.fixture(scope="module")
def roles(golden):
    return {graph.role: graph for graph in graphs(golden)}


def far(found, wanted):
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max())


def test_merged_weights(golden, case):
    for key, wanted in case("merged-weights").items():
        network, _, name = key.partition(".")
        assert far(getattr(golden, network).state_dict()[name], wanted) < MERGED, key


def test_text(roles, case):
    told = case("text")
    assert far(roles["text"].module(told["input_ids"]), told["prompt_embeds"]) < TEXT
    reversed_ids = told["input_ids"].flip(1)  # the planted fault
    assert far(roles["text"].module(reversed_ids), told["prompt_embeds"]) > 0.1


@torch.no_grad()
def test_unet(roles, case):
    told = case("unet")
    denoise = roles["denoise"]
    assert far(denoise.module.trunk(told["latents"], told["prompt_embeds"]), told["eps_lora_merged"]) < EPS
    for module in (denoise.module, denoise.plain):
        assert far(module(told["latents"], told["prompt_embeds"]), told["x0"]) < X0


@torch.no_grad()
def test_a_baked_prompt(golden, case):
    told = case("unet")
    baked = BakedUnet(golden.unet, golden.constants, told["prompt_embeds"][1:])
    found = baked(told["latents"])
    assert far(found[1], told["x0"][1]) < X0
    assert far(found[0], told["x0"][0]) > 0.01  # whose prompt was another
    assert not any("to_k" in name or "to_v" in name for name in baked.state_dict() if "attn2" in name)


@torch.no_grad()
def test_first_tile_of_the_tiled_case(golden, roles, case):
    told = case("latent-tiled")
    assert far(roles["denoise"].module.trunk(told["tile0_in"], told["prompt_embeds"]), told["tile0_eps"]) < EPS


@torch.no_grad()
def test_encode_and_decode(golden, roles, case):
    told = case("vae-encode")
    zeros = torch.zeros_like(told["mean"])
    for module in (roles["encode"].module, roles["encode"].plain):
        assert far(module(told["image_lq"], zeros) / golden.scaling, told["mean"]) < MOMENTS
        std = (module(told["image_lq"], zeros + 1) - module(told["image_lq"], zeros)) / golden.scaling
        assert far(std, (0.5 * told["logvar"]).exp()) < MOMENTS
    told = case("vae-decode")
    for module in (roles["decode"].module, roles["decode"].plain):
        assert far(module(told["latent"] * golden.scaling), told["image"]) < IMAGE


@pytest.mark.parametrize("name", ["final-mean", "final-noise", "final-smallinput"])
@torch.no_grad()
def test_whole_images(golden, roles, case, name):
    """By the graphs' modules, and by the oracle."""
    told = case(name)
    noise = told.get("noise")
    state = roles["encode"].module(told["upscaled_lq"], torch.zeros_like(told["z"]) if noise is None else noise)
    assert far(state, told["z"]) < MOMENTS
    x0 = roles["denoise"].module(state, told["prompt_embeds"])
    assert far(x0, told["x0"]) < X0
    assert far(roles["decode"].module(x0).clamp(-1, 1), told["image"]) < IMAGE
    whole = restore(golden, told["upscaled_lq"], told["prompt_embeds"], noise, lambda tensor: tensor)
    assert far(whole.clamp(-1, 1), told["image"]) < IMAGE


@torch.no_grad()
def test_a_base_whose_first_convolution_stayed_is_caught(data, case):
    """The planted fault, the classic one: `conv_in` not replaced, only the pair merged."""
    adapter, base = load_adapter(data / "osediff.pkl"), load_base(data / "base")
    own = base.unet.get_submodule("conv_in").state_dict()
    stayed = dataclasses.replace(adapter, conv_in=(own["weight"].clone(), own["bias"].clone()))
    merge(stayed, base.unet, base.vae)
    faulty = OseDiff(base, adapter.source, (4, 4))
    told = case("unet")
    wanted = case("merged-weights")["unet.conv_in.weight"]
    assert far(base.unet.state_dict()["conv_in.weight"], wanted) > 1e3 * MERGED
    denoise = {graph.role: graph for graph in graphs(faulty)}["denoise"]
    assert far(denoise.module(told["latents"], told["prompt_embeds"]), told["x0"]) > 10 * X0


@pytest.mark.slow
@pytest.mark.parametrize("baked", [True, False])
def test_traced_unet_at_any_size(golden, case, tmp_path, baked):
    """Sides that three halvings do not divide, down to one pixel; `trace` itself compares at two sizes."""
    told = case("unet")
    denoise = graphs(golden, told["prompt_embeds"][:1] if baked else None)[1]
    trace(denoise, tmp_path / "denoise.onnx")
    draw = np.random.default_rng(41)
    with OnnxSession(tmp_path / "denoise.onnx", threads=1) as session:
        for size in ((1, 8, 6), (2, 6, 9), (1, 22, 29), (3, 12, 12), (1, 1, 1), (2, 3, 5)):
            feed = denoise.examples(draw, *size)
            with torch.no_grad():
                wanted = denoise.plain(*(torch.from_numpy(array) for array in feed.values()))
            assert np.abs(session.run(feed)["pred"] - wanted.numpy()).max() < X0


def test_examples_are_what_the_roles_are_fed_with(golden, roles):
    draw = np.random.default_rng(40)
    ids = roles["text"].examples(draw, 3, 1, 1)["ids"]
    assert ids.shape == (3, 77)
    assert ids.dtype == np.int64
    assert (ids[:, 0] == 712).all()
    assert ((ids == 713).sum(axis=1) == 1).all()
    assert not ids[:, -1].any()
    feed = roles["encode"].examples(draw, 2, 3, 5)
    assert feed["lq"].shape == (2, 3, 24, 40)
    assert feed["noise"].shape == (2, 4, 3, 5)
    assert roles["encode"].inputs["lq"].shape == ("N", 3, "8H", "8W")
    assert set(roles["decode"].examples(draw, 2, 3, 5)) == {"state"}
    cond = roles["denoise"].examples(draw, 2, 3, 5)["cond"]
    assert cond.shape == (2, 77, 32)
    assert not np.array_equal(cond[0], cond[1])


def test_a_baked_model_has_no_text(golden, case):
    baked = graphs(golden, case("unet")["prompt_embeds"][:1])
    assert [graph.role for graph in baked] == ["encode", "denoise", "decode"]
    assert list(baked[1].inputs) == ["state"]


def test_weights_are_shared(golden, roles):
    """At full size there is no room for two."""
    plain = {tensor.data_ptr() for tensor in golden.parameters()}
    for role, graph in roles.items():
        own = [name for name, tensor in graph.module.named_parameters() if tensor.data_ptr() not in plain]
        assert all(role == "denoise" and name.endswith("conv1.bias") for name in own)
