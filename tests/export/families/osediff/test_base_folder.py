"""Base folders in the forms that exist, and those that are not the model that OSEDiff was trained on."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lqhq.export.families.osediff.base_folder import load_base
from lqhq.runtime.errors import CheckpointError

FILES = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text": "text_encoder/model.safetensors",
}
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.fixture
def folder(data, tmp_path):
    return shutil.copytree(data / "base", tmp_path / "base")


@pytest.fixture(scope="module")
def untouched(data):
    return load_base(data / "base")


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def same(one, other):
    wanted = other.state_dict()
    return all(torch.equal(tensor, wanted[name]) for name, tensor in one.state_dict().items())


def test_the_golden_base(untouched):
    assert untouched.factor == 8
    assert untouched.scaling == 0.18215
    assert untouched.constants == (0.06826488673686981, 0.9976672530174255)
    assert {source.name for source in untouched.sources} >= {*FILES.values(), "scheduler/scheduler_config.json"}
    for network in (untouched.unet, untouched.vae, untouched.text):
        assert {(p.dtype, p.device.type, p.requires_grad) for p in network.parameters()} == {
            (torch.float32, "cpu", False)
        }
        assert not network.training


def test_half_precision_files_keep_their_values(untouched, data):
    for name, network in (("unet", untouched.unet), ("vae", untouched.vae)):
        stored = load_file(data / "base" / FILES[name])
        assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
        assert all(torch.equal(tensor, stored[key].float()) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("convolutions", [False, True])
def test_old_names_of_the_vae(folder, untouched, convolutions):
    tensors = load_file(folder / FILES["vae"])
    old = {}
    for name, tensor in tensors.items():
        for new, former in OLD.items():
            if f"attentions.0.{new}." in name:
                name = name.replace(new, former)
                tensor = tensor[:, :, None, None] if convolutions and tensor.ndim == 2 else tensor
        old[name] = tensor.contiguous()
    assert len(set(old) - set(tensors)) == 16
    save_file(old, folder / FILES["vae"])
    base = load_base(folder)
    assert same(base.vae, untouched.vae)
    assert any("renamed 16 tensors" in note for note in base.notes)


def test_pickled_files_and_tables_of_positions(folder, untouched):
    for name, file in FILES.items():
        tensors = load_file(folder / file)
        (folder / file).unlink()
        if name == "text":
            tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        new = {"text": "pytorch_model.bin"}.get(name, "diffusion_pytorch_model.bin")
        torch.save(tensors, (folder / file).with_name(new))
    base = load_base(folder)
    assert same(base.unet, untouched.unet)
    assert same(base.vae, untouched.vae)
    assert same(base.text, untouched.text)


def test_the_full_file_is_taken_where_both_are(folder, untouched):
    file = folder / FILES["text"]
    half = {name: tensor.half() for name, tensor in load_file(file).items()}
    save_file(half, file.with_name("model.fp16.safetensors"))
    base = load_base(folder)
    assert same(base.text, untouched.text)
    assert any("left model.fp16.safetensors" in note for note in base.notes)
    file.unlink()
    assert not same(load_base(folder).text, untouched.text)


def test_names_without_a_prefix(folder, untouched):
    file = folder / FILES["text"]
    save_file({name.removeprefix("text_model."): t for name, t in load_file(file).items()}, file)
    assert same(load_base(folder).text, untouched.text)


def test_the_scaling_factor_has_a_default(folder):
    file = folder / "vae/config.json"
    config = json.loads(file.read_text())
    del config["scaling_factor"]
    file.write_text(json.dumps(config))
    assert load_base(folder).scaling == 0.18215
    edit(file, scaling_factor=0.5)
    assert load_base(folder).scaling == 0.5


WRONG = {
    "v-prediction": ("scheduler/scheduler_config.json", {"prediction_type": "v_prediction"}, "768 pixels"),
    "another schedule": ("scheduler/scheduler_config.json", {"beta_schedule": "linear"}, "beta_schedule"),
    "clipped": ("scheduler/scheduler_config.json", {"clip_sample": True}, "clip_sample"),
    "other steps": ("scheduler/scheduler_config.json", {"num_train_timesteps": 100}, "num_train_timesteps"),
    "no beta": ("scheduler/scheduler_config.json", {"beta_end": None}, "beta_end"),
    "betas turned": ("scheduler/scheduler_config.json", {"beta_end": 0.0001}, "beta_start"),
    "inpainting": ("unet/config.json", {"in_channels": 9}, "inpainting"),
    "XL": ("unet/config.json", {"addition_embed_type": "text_time"}, "XL"),
    "SD 1": ("unet/config.json", {"cross_attention_dim": 768}, "instead of"),
    "other unet": ("unet/config.json", {"_class_name": "UNet2DModel"}, "UNet2DModel"),
    "other blocks": ("unet/config.json", {"up_block_types": ["AttnUpBlock2D"] * 4}, "AttnUpBlock2D"),
    "other activation": ("unet/config.json", {"act_fn": "gelu"}, "act_fn"),
    "other widths": ("unet/config.json", {"block_out_channels": [16, 24, 32, 40]}, "wrong shape"),
    "no network": ("unet/config.json", {"norm_num_groups": 7}, "sizes that fit"),
    "no groups": ("unet/config.json", {"norm_num_groups": -1}, "norm_num_groups"),
    "odd heads of the unet": ("unet/config.json", {"attention_head_dim": [1, "x"]}, "attention_head_dim"),
    "endless": ("unet/config.json", {"layers_per_block": 10**9}, "layers_per_block"),
    "endless transformers": ("unet/config.json", {"transformer_layers_per_block": 10**9}, "transformer_layers"),
    "endless vae": ("vae/config.json", {"layers_per_block": 10**9}, "layers_per_block"),
    "endless text": ("text_encoder/config.json", {"num_hidden_layers": 10**9}, "num_hidden_layers"),
    "another time": ("unet/config.json", {"freq_shift": "x"}, "freq_shift"),
    "another padding": ("unet/config.json", {"downsample_padding": 0}, "downsample_padding"),
    "another epsilon": ("unet/config.json", {"norm_eps": None}, "norm_eps"),
    "terminal": ("unet/config.json", {"_class_name": "\x1b[31m" * 1000}, "_class_name: found '.{1,80}; expected"),
    "unknown key": ("unet/config.json", {"novelty": 1}, "novelty"),
    "other vae": ("vae/config.json", {"_class_name": "AutoencoderTiny"}, "AutoencoderTiny"),
    "shifted vae": ("vae/config.json", {"shift_factor": 0.1}, "shift_factor"),
    "wide latents": ("vae/config.json", {"latent_channels": 16}, "instead of"),
    "bad scaling": ("vae/config.json", {"scaling_factor": "0.18"}, "scaling_factor"),
    "deeper vae": ("vae/config.json", {"layers_per_block": 3}, "missing"),
    "other text": ("text_encoder/config.json", {"model_type": "t5"}, "model_type"),
    "other gelu": ("text_encoder/config.json", {"hidden_act": "relu"}, "hidden_act"),
    "fewer layers": ("text_encoder/config.json", {"num_hidden_layers": 2}, "unexpected"),
    "odd heads": ("text_encoder/config.json", {"num_attention_heads": 5}, "divisor"),
    "no layers": ("text_encoder/config.json", {"num_hidden_layers": 0}, "num_hidden_layers"),
    "bad eps": ("text_encoder/config.json", {"layer_norm_eps": "x"}, "layer_norm_eps"),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_models(folder, name):
    file, change, word = WRONG[name]
    edit(folder / file, **change)
    with pytest.raises(CheckpointError, match=word):
        load_base(folder)


def test_what_is_no_small_file_is_not_read(folder):
    """A device never ends; neither does a file of gigabytes under a small one's name."""
    for name in ("scheduler/scheduler_config.json", "unet/config.json"):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")
        with pytest.raises(CheckpointError):
            load_base(folder)
        (folder / name).unlink()
        with (folder / name).open("wb") as file:
            file.truncate(9 << 20)
        with pytest.raises(CheckpointError):
            load_base(folder)
        (folder / name).write_bytes(kept)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_missing_parts(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(CheckpointError, match=part) as error:
        load_base(folder)
    assert "2.1 base" in error.value.mend


def test_missing_files(folder):
    (folder / "vae/config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_base(folder)
    (folder / FILES["unet"]).unlink()
    with pytest.raises(CheckpointError, match="no weights file"):
        load_base(folder)
    (folder / "unet/diffusion_pytorch_model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="several files"):
        load_base(folder)


@pytest.mark.parametrize(
    ("change", "word"), [("drop", "1 missing"), ("add", "1 unexpected"), ("whole", "not floating")]
)
def test_other_tensors(folder, change, word):
    tensors = load_file(folder / FILES["text"])
    name = sorted(tensors)[0]
    if change == "drop":
        del tensors[name]
    else:
        tensors[name + "x" * (change == "add")] = tensors[name].to(torch.int32 if change == "whole" else torch.float32)
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, folder / FILES["text"])
    with pytest.raises(CheckpointError, match=word):
        load_base(folder)
