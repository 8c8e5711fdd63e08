"""IndiUnet state dicts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lqhq.export.families.indi.indi_unet import IndiUNet
from lqhq.export.families.indi.load_indiunet import load
from lqhq.export.family import Weights
from lqhq.runtime.errors import CheckpointError


def built(**changes) -> tuple[IndiUNet, Weights]:
    torch.manual_seed(1)
    network = IndiUNet(**({"in_channels": 3, "out_channels": 3, "width": 4, "time": 32} | changes)).eval()
    return network, Weights(where="w.pt", tensors=dict(network.state_dict()), config={})


def test_the_golden_forward(golden_model, goldens):
    model, data = (
        golden_model("f_indiunet", time_scale=1.0),
        np.load(goldens["f_indiunet"].path.with_suffix(".forward.npz")),
    )
    for x, out in (("x", "out"), ("x_rect", "out_rect")):
        for t, wanted in zip(data["t"], data[out], strict=True):
            state = torch.from_numpy(data[x])
            found = model.network.module(state, torch.full((len(state),), float(t)))
            assert np.abs(found.numpy() - wanted).max() < 2e-5


def test_width_and_embedding_are_read_from_the_weights():
    network, weights = built(width=6, time=64)
    loaded = load(weights, {})
    state, t = torch.rand(2, 3, 16, 24), torch.tensor([0.1, 0.9])
    with torch.no_grad():
        assert torch.equal(loaded.module(state, t), network(state, t))
    assert loaded.multiple == 8
    assert len(loaded.deviations) == 2


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"image_size": 64}, "image_size"),
        ({"time_dim": 256}, "time_dim"),
        ({"c_in": 1}, "c_in"),
        ({"c_out": 6}, "c_out"),
        ({"num_classes": 10}, "class-conditional"),
        ({"device": "cuda"}, "device"),
    ],
)
def test_configs_that_do_not_fit_are_refused(config, words):
    with pytest.raises(CheckpointError, match=words):
        load(built()[1], config)


def test_other_networks_and_halves_are_refused():
    with pytest.raises(CheckpointError, match="conditioning image"):
        load(built(in_channels=6)[1], {})
    _, weights = built()
    with pytest.raises(CheckpointError, match="class-conditional"):
        load(Weights(where="w", tensors={**weights.tensors, "label_emb.weight": torch.ones(1)}, config={}), {})
    wrong = {**weights.tensors, "bot2.double_conv.0.weight": torch.zeros(32, 16, 3, 3)}
    with pytest.raises(CheckpointError, match=r"wrong shape: bot2.* \[32, 16, 3, 3\] instead of \[32, 32, 3, 3\]"):
        load(Weights(where="w", tensors=wrong, config={}), {})
