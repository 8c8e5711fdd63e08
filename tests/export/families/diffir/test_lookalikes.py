"""Networks that share names with DiffIR are refused by their own names, with what to give instead."""

from __future__ import annotations

import pytest

from lqhq.export.families.diffir.lookalikes import is_relative, refusal

RESTORMER = ["patch_embed.proj.weight", "encoder_level1.0.attn.temperature", "encoder_level1.0.attn.qkv.weight"]
STAGE_1 = ["G.patch_embed.proj.weight", "G.encoder_level1.0.attn.kernel.0.weight", "E.E.0.weight", "E.mlp.0.weight"]

TABLE = {
    "stage 1": (STAGE_1, "stage 1", "ground truth"),
    "stage 1 in Lightning": ([f"generatorS1.{name}" for name in STAGE_1], "stage 1", "stage-2 file"),
    "Restormer": (RESTORMER, "a Restormer", "no prior"),
    "Restormer under G": ([f"G.{name}" for name in RESTORMER], "a Restormer", "DiffIR stage-2"),
    "DIRformer alone": (
        ["encoder_level1.0.attn.kernel.0.weight"],
        "G of DiffIR without condition and denoise",
        "whole",
    ),
    "no denoiser": (
        ["G.latent.0.attn.kernel.0.weight", "condition.E.0.weight"],
        "G and condition of DiffIR without denoise",
        "MoE-DiffIR",
    ),
    "scattered": (
        ["a.G.latent.0.attn.kernel.0.weight", "b.condition.E.0.weight", "c.denoise.resmlp.0.weight"],
        "without names that belong together",
        "DiffRIR",
    ),
    "U-net discriminator": (["conv0.weight", "conv1.weight_orig", "conv9.weight"], "a discriminator", "net_g_"),
    "VGG discriminator": (["conv0_0.weight", "bn0_1.weight", "linear1.weight"], "a discriminator", "net_d_"),
    "Lightning's discriminator": (["discriminator.model0.0.weight"], "a discriminator", "generator"),
}


@pytest.mark.parametrize("kind", TABLE)
def test_each_is_named(kind):
    names, found, mend = TABLE[kind]
    error = refusal("w.pth", names)
    assert found in error.found
    assert mend in error.mend
    assert is_relative(names)


def test_a_stranger_is_no_relative():
    names = ["conv_first.weight", "body.0.rdb1.conv1.weight", "time_embed.0.weight"]
    assert not is_relative(names)
    assert "no part of DiffIR: conv_first.weight" in refusal("w.pth", names).found


def test_names_match_at_a_dot_only():
    assert not is_relative(["someE.E.0.weight", "notencoder_level1.0.attn.qkv.weight"])
