"""guided-diffusion state dicts: read from the weights, compared with the flags, the rest asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lqhq.export.families.indi.guided_unet import GuidedShape, GuidedUNet
from lqhq.export.families.indi.load_guided import load
from lqhq.export.family import Weights
from lqhq.runtime.errors import CheckpointError

SHAPE = {
    "in_channels": 3,
    "out_channels": 3,
    "width": 32,
    "widths": (32, 64),
    "blocks": 1,
    "attention": frozenset({1}),
    "scale_shift": True,
    "updown": False,
    "heads": 2,
    "heads_up": 2,
    "head_width": 0,
    "new_order": False,
}
FLAGS = {"num_heads": 2, "use_new_attention_order": False}


def built(**changes) -> tuple[GuidedUNet, Weights]:
    torch.manual_seed(1)
    network = GuidedUNet(GuidedShape(**(SHAPE | changes))).eval()
    return network, Weights(where="w.pt", tensors=dict(network.state_dict()), config={})


def test_the_golden_forward(golden_model, goldens):
    network, data = (
        golden_model("f_guided").recipe.graphs[0].plain,
        np.load(goldens["f_guided"].path.with_suffix(".forward.npz")),
    )
    for x, out in (("x", "out"), ("x_rect", "out_rect")):
        for t, wanted in zip(data["t"], data[out], strict=True):
            state = torch.from_numpy(data[x])
            found = network(state, torch.full((len(state),), float(t)))
            assert np.abs(found.numpy() - wanted).max() < 2e-5


@pytest.mark.parametrize(
    ("shape", "flags"),
    [
        ({"widths": (32, 64, 96), "blocks": 2}, {"channel_mult": "1,2,3", "num_res_blocks": 2}),
        ({"updown": True}, {"resblock_updown": True}),
        ({"scale_shift": False}, {"use_scale_shift_norm": False}),
        ({"attention": frozenset({0, 1})}, {"image_size": 64, "attention_resolutions": "64,32"}),
        ({"attention": frozenset()}, {"image_size": 64, "attention_resolutions": ""}),
        ({"heads": 4, "heads_up": 1}, {"num_heads": 4, "num_heads_upsample": 1}),
        ({"head_width": 8}, {"num_head_channels": 8}),
        ({"new_order": True}, {"use_new_attention_order": True}),
        ({"widths": (64,), "width": 64, "attention": frozenset()}, {"num_channels": 64, "channel_mult": [1]}),
        ({"width": 64, "widths": (32, 64)}, {"channel_mult": "0.5,1"}),
    ],
)
def test_other_shapes_load_from_their_own_weights(shape, flags):
    network, weights = built(**shape)
    loaded = load(weights, FLAGS | flags)
    state, t = torch.rand(2, 3, 16, 24), torch.tensor([100.0, 900.0])
    with torch.no_grad():
        assert torch.equal(loaded.module(state, t), network(state, t))
    assert loaded.multiple == 2 ** (len(network.state_dict() and (shape.get("widths") or SHAPE["widths"])) - 1)


def test_the_order_of_heads_changes_the_result_and_nothing_else_could_tell():
    """The planted fault: with the two orders swapped, the same weights give another image."""
    network, weights = built(new_order=True)
    wrong = load(weights, FLAGS | {"use_new_attention_order": False})
    state, t = torch.rand(1, 3, 16, 16), torch.tensor([500.0])
    with torch.no_grad():
        assert (wrong.module(state, t) - network(state, t)).abs().max() > 1e-3


@pytest.mark.parametrize("missing", ["num_heads", "use_new_attention_order"])
def test_what_the_weights_cannot_tell_is_asked_for(missing):
    _, weights = built()
    with pytest.raises(CheckpointError, match=f"{missing}.*the weights do not tell"):
        load(weights, {key: value for key, value in FLAGS.items() if key != missing})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"num_channels": 64}, "num_channels: found 64 in the config, but weights of 32"),
        ({"channel_mult": "1,1"}, "channel_mult"),
        ({"channel_mult": "", "image_size": 64}, "channel_mult"),
        ({"channel_mult": "", "image_size": 65}, "an empty channel_mult"),
        ({"channel_mult": "1;2"}, "commas"),
        ({"num_res_blocks": 2}, "num_res_blocks"),
        ({"use_scale_shift_norm": False}, "use_scale_shift_norm"),
        ({"resblock_updown": True}, "resblock_updown"),
        ({"learn_sigma": True}, "learn_sigma"),
        ({"image_size": 64, "attention_resolutions": "64"}, "attention_resolutions"),
        ({"attention_resolutions": "64"}, "image_size"),
        ({"class_cond": True}, "class-conditional"),
        ({"num_heads": 5}, "divide evenly"),
        ({"num_head": 4}, "num_head"),
        ({"num_heads": "4"}, "num_heads"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags, words):
    _, weights = built()
    with pytest.raises(CheckpointError, match=words):
        load(weights, FLAGS | flags)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"out_channels": 6}, "learned variance"),
        ({"in_channels": 6}, "conditioning image"),
        ({"in_channels": 1}, "1 channels in"),
    ],
)
def test_other_channels_are_not_indi(shape, words):
    _, weights = built(**shape)
    with pytest.raises(CheckpointError, match=words):
        load(weights, FLAGS)


def test_half_a_checkpoint_is_refused():
    _, weights = built()
    for name in (
        "middle_block.1.qkv.bias",
        "output_blocks.3.0.in_layers.2.weight",
        "input_blocks.1.0.out_layers.3.weight",
    ):
        cut = {key: tensor for key, tensor in weights.tensors.items() if key != name}
        with pytest.raises(CheckpointError, match="found"):
            load(Weights(where="w.pt", tensors=cut, config={}), FLAGS)
    extra = {**weights.tensors, "label_emb.weight": torch.zeros(10, 128)}
    with pytest.raises(CheckpointError, match="class-conditional"):
        load(Weights(where="w.pt", tensors=extra, config={}), FLAGS)
