"""The structure is read from the tensors; every contradiction names the tensor."""

from __future__ import annotations

import re

import pytest
import torch

from lqhq.export.families.diffir.shapes import describe
from lqhq.runtime.errors import CheckpointError

DEBLUR = {"tail": False, "scale": 1, "residual": True}


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"scale": 2, "dim": 6, "heads": (1, 1, 2, 3)},
        {"scale": 1, "steps": 8, "start": 0.02, "end": 0.95},
        {"bias": True, "norm_bias": True, "denoiser_blocks": 2},
        {"heads": (2, 2, 4, 4), "blocks": (2, 1, 3, 1), "refinement": 3, "encoder_blocks": 3},
        {"heads": (4, 8, 16, 32), "refinement": 0, "steps": 1},
        {"hidden": (1, 2, 3, 5), "denoiser_blocks": 0, "encoder_blocks": 0},
        {**DEBLUR, "norm_bias": True, "blocks": (1, 2, 1, 2), "dim": 8},
        {**DEBLUR, "bias": True, "steps": 1000, "start": 1e-4, "end": 0.02},
        {**DEBLUR, "channels": 4, "residual": False, "refinement": 0, "hidden": (7, 14, 28, 57)},
        {"blocks": (1, 0, 1, 0), "heads": (2, 1, 1, 1), "hidden": (8, 17, 35, 1)},  # levels without blocks
    ],
)
def test_every_shape_is_read_back(official, told):
    network, tensors = official(**told)
    described = describe("w.pth", tensors)
    assert described.shape == network.G.shape
    assert described.schedule == network.schedule
    assert described.schedule.steps == told.get("steps", 4)
    rebuilt = described.build()
    rebuilt.load_state_dict(network.state_dict(), strict=True)
    height = 8 * rebuilt.condition.fold
    lq, noise = torch.rand(1, network.G.shape.channels, height, height), torch.randn(1, 256)
    with torch.no_grad():
        assert torch.equal(rebuilt(lq, noise), network(lq, noise))


def test_the_seeds_matter_and_so_does_the_fold(official):
    """The planted fault: another CPEN fold or schedule is another image, so equality above is no accident."""
    network, tensors = official(**DEBLUR)
    rebuilt = describe("w.pth", tensors).build().eval()
    rebuilt.load_state_dict(network.state_dict())
    lq, noise = torch.rand(1, 3, 32, 32), torch.randn(1, 256)
    with torch.no_grad():
        wanted = network(lq, noise)
        rebuilt.schedule = official(steps=3)[0].schedule
        assert not torch.equal(rebuilt(lq, noise), wanted)


def _zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape)


EDITS = {
    "mixed bias": ({"G.latent.0.attn.qkv.bias": _zeros(96)}, "G.latent.0.attn.qkv.bias: found a bias", "no bias thr"),
    "mixed norms": ({"G.refinement.0.norm2.body.bias": _zeros(8)}, "G.refinement.0.norm2.body.bias: found a bias", ""),
    "heads": ({"G.latent.0.attn.temperature": _zeros(5, 1, 1)}, "G.latent.0.attn.temperature: found 5 heads", "32"),
    "no heads": ({"G.latent.0.attn.temperature": _zeros(0, 1, 1)}, "found 0 heads", "divides"),
    "heads of level 1": (
        {"G.refinement.0.attn.temperature": _zeros(2, 1, 1)},
        "G.refinement.0.attn.temperature: found 2",
        "1, as in G.encoder_level1.0.attn.temperature",
    ),
    "hidden": (
        {"G.decoder_level1.0.ffn.project_out.weight": _zeros(8, 9, 1, 1)},
        "G.decoder_level1.0.ffn.project_out.weight: found 9",
        "17, as in G.encoder_level2.0",
    ),
    "decoder blocks": ({"G.decoder_level3.1.attn.temperature": _zeros(4, 1, 1)}, "G.encoder_level3: found 1", "2, as"),
    "a gap": ({"G.latent.2.attn.temperature": _zeros(8, 1, 1)}, "G.latent.1.attn.temperature", "without a gap"),
    "too many blocks": ({"G.latent.99999.attn.temperature": _zeros(8, 1, 1)}, "block 99999", "at most 256"),
    "a gap in CPEN": ({"condition.E.5.body.0.weight": _zeros(1)}, "condition.E.3.body.0.weight", "without a gap"),
    "CPEN's first": ({"condition.E.0.weight": _zeros(64, 12, 3, 3)}, "12 input channels", "3, as G says"),
    "CPEN's width": ({"condition.E.0.weight": _zeros(48, 3, 3, 3)}, "condition.E.0.weight: found 48", "64, a constant"),
    "CPEN's last": ({"condition.E.7.weight": _zeros(128, 128, 3, 3)}, "condition.E.7.weight: found 128", "256, a c"),
    "the prior's width": ({"denoise.resmlp.0.weight": _zeros(128, 257)}, "257 inputs", "513"),
    "scale 3": ({"G.patch_embed.proj.weight": _zeros(4, 27, 3, 3)}, "27 input channels", "by 4, 2 or 1"),
    "odd dim": ({"G.patch_embed.proj.weight": _zeros(5, 3, 3, 3)}, "5 channels", "an even number"),
    "huge dim": ({"G.patch_embed.proj.weight": _zeros(1026, 3, 1, 1)}, "1026 channels", "from 2 to 1024"),
    "no dimensions": ({"G.patch_embed.proj.weight": torch.tensor(1.0)}, "no usable tensor G.patch_embed", ""),
    "dual pixel": ({"G.skip_conv.weight": _zeros(8, 4, 1, 1)}, "dual_pixel_task", "without"),
    "two heads": ({"G.output.weight": _zeros(3, 8, 3, 3)}, "found both", "one"),
    "huge hidden": (
        {"G.latent.0.ffn.project_out.weight": _zeros(1, 70000)},
        "found 70000 channels",
        "1 to 65536",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_contradiction_names_the_tensor(official, edit):
    changes, found, expected = EDITS[edit]
    _, tensors = official()
    with pytest.raises(CheckpointError) as caught:
        describe("w.pth", {**tensors, **changes})
    assert found in str(caught.value)
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("G.tail.0.0.weight", "neither"),
        ("condition.mlp.0.weight", "no usable tensor condition.mlp.0.weight"),
        ("condition.E.0.weight", "no usable tensor condition.E.0.weight"),
        ("G.decoder_level2.0.attn.temperature", "G.encoder_level2: found 1"),
    ],
)
def test_a_missing_part_is_named(official, name, found):
    _, tensors = official()
    del tensors[name]
    with pytest.raises(CheckpointError, match=re.escape(found)):
        describe("w.pth", tensors)


def test_deblurring_and_inpainting_have_one_fold_and_known_inputs(official):
    _, tensors = official(**DEBLUR)
    with pytest.raises(CheckpointError, match="5 input channels"):
        describe("w.pth", {**tensors, "G.patch_embed.proj.weight": _zeros(4, 5, 3, 3)})
    with pytest.raises(CheckpointError, match="found 3 input channels; expected 48, as G says"):
        describe("w.pth", {**tensors, "condition.E.0.weight": _zeros(64, 3, 3, 3)})
