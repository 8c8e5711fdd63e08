"""diffusers UNet2DModel folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lqhq.runtime.errors import CheckpointError

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module", autouse=True)
def _diffusers() -> None:
    """Its import takes seconds, which are not a test's."""
    from diffusers import UNet2DModel  # noqa: F401


@pytest.fixture
def copy(goldens, tmp_path):
    """`copy(**config)`: the golden folder with a changed config.json; None removes a key."""

    def make(name: str = "unet", **changes) -> Path:
        folder = tmp_path / name
        shutil.copytree(goldens["f_diffusers"].path, folder)
        config = json.loads((folder / "config.json").read_text()) | changes
        kept = {key: value for key, value in config.items() if value != "absent"}
        (folder / "config.json").write_text(json.dumps(kept))
        return folder

    return make


def output(model) -> np.ndarray:
    torch.manual_seed(0)
    return model.network.module(torch.rand(1, 3, 16, 24), torch.tensor([0.4])).numpy()


def test_the_golden_forward(golden_model, goldens):
    path = goldens["f_diffusers"].path
    model, data = golden_model("f_diffusers"), np.load(path.with_name("f_diffusers.forward.npz"))
    for x, out in (("x", "out"), ("x_rect", "out_rect")):
        for t, wanted in zip(data["t"], data[out], strict=True):
            state = torch.from_numpy(data[x])
            found = model.network.module(state, torch.full((len(state),), float(t)))
            assert np.abs(found.numpy() - wanted).max() < 2e-5


def test_a_pipeline_folder_old_names_bin_files_and_ema_keys_give_the_same_network(golden_model, copy, tmp_path):
    wanted = output(golden_model("f_diffusers"))
    unet = copy("pipe/unet", decay=0.999, power=0.75, optimization_step=10)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(unet / WEIGHTS)
    for new, name in old.items():
        tensors = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in tensors.items()}
    (unet / WEIGHTS).unlink()
    torch.save(tensors, unet / "diffusion_pytorch_model.bin")
    model = golden_model("f_diffusers", path=tmp_path / "pipe")
    assert np.array_equal(output(model), wanted)
    notes = " | ".join(model.notes)
    for words in ("unet/", "proj_attn.bias -> ", "decay, optimization_step, power"):
        assert words in notes


def test_a_name_that_is_there_twice_is_refused(golden_model, copy):
    unet = copy()
    tensors = load_file(unet / WEIGHTS)
    tensors["mid_block.attentions.0.query.weight"] = tensors["mid_block.attentions.0.to_q.weight"].clone()
    save_file(tensors, unet / WEIGHTS)
    with pytest.raises(CheckpointError, match="two tensors that both mean mid_block"):
        golden_model("f_diffusers", path=unet)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attention_head_dim": "absent"}, "attention_head_dim"),
        ({"norm_num_groups": "absent"}, "norm_num_groups"),
        ({"flip_sin_to_cos": "absent"}, "flip_sin_to_cos"),
        ({"out_channels": 6}, "learned variance"),
        ({"in_channels": 6}, "conditioning image"),
        ({"block_out_channels": [16, 32, 64]}, "wrong shape"),
        ({"layers_per_block": 2}, "missing"),
        ({"norm_num_groups": 7}, r"config\.json"),
        ({"down_block_types": ["DownBlock2D"]}, r"config\.json"),
        ({"down_block_types": ["NoBlock", "NoBlock", "NoBlock"]}, r"config\.json"),
        ({"time_embedding_type": "learned", "num_train_timesteps": 10}, "whole timesteps"),
        ({"num_class_embeds": 10}, "class-conditional"),
        ({"cross_attention_dim": 768}, "unknown keys cross_attention_dim"),
        ({"_class_name": "UNet2DConditionModel"}, "claimed by no format"),
    ],
)
def test_configs_that_do_not_fit_are_refused(golden_model, copy, change, words):
    with pytest.raises(CheckpointError, match=words):
        golden_model("f_diffusers", path=copy(**change))


def test_heads_come_from_the_config_and_matter(golden_model, copy):
    """The planted fault: four heads in place of two per attention change the image, not the shapes."""
    other = golden_model("f_diffusers", path=copy(attention_head_dim=16))
    assert np.abs(output(other) - output(golden_model("f_diffusers"))).max() > 1e-3


def test_the_weights_alone_need_the_config(golden_model, goldens):
    path = goldens["f_diffusers"].path
    with pytest.raises(CheckpointError, match=r'Put "act_fn" into the file given with --config'):
        golden_model("f_diffusers", path=path / WEIGHTS)
    config = json.loads((path / "config.json").read_text())
    assert output(golden_model("f_diffusers", path=path / WEIGHTS, **config)).shape == (1, 3, 16, 24)
