"""Official stage-2 checkpoints of every form: goldens, wrappers, copies, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lqhq.export.checkpoint import open_checkpoint
from lqhq.export.families.diffir.load_official import NESTED_KEYS, claims, load
from lqhq.export.family import Weights
from lqhq.runtime.errors import CheckpointError


def opened(path: Path, **told):
    """As `lqhq export diffir` reads a path: the network and what was noted."""
    checkpoint = open_checkpoint(path, nested=NESTED_KEYS, config_json=False, **told)
    notes = list(checkpoint.notes)
    return load(str(path), checkpoint.tensors, notes), "\n".join(notes)


def same(network, other) -> bool:
    pairs = zip(network.state_dict().items(), other.state_dict().items(), strict=True)
    return network.schedule == other.schedule and all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("name", ["srx4", "srx2", "deblur", "inpainting"])
def test_the_golden_sets_load_from_weights_alone(diffir_data, name):
    folder = diffir_data(name)
    assert not list(folder.glob("*.json"))
    network, notes = opened(folder)
    assert "dropped 20 copies under 'diffusion.'" in notes
    assert not network.training
    for case in sorted(folder.glob("case-*.npz")):
        data = np.load(case)
        lq, noise = torch.from_numpy(data["net_input"]), torch.from_numpy(data["z_T"])
        with torch.no_grad():
            condition, out = network.condition(lq), network(lq, noise)
            prior = network.prior(condition, noise)
        for found, wanted, limit in ((condition, "cpen_out", 2e-5), (prior, "ipr", 2e-5), (out, "dirformer_out", 1e-4)):
            assert np.abs(found.numpy() - data[wanted]).max() <= limit, (case.name, wanted)


def test_a_golden_with_one_changed_weight_is_another_image(diffir_data):
    """The planted fault: the comparison above can fail."""
    network, _ = opened(diffir_data("srx4"))
    data = np.load(diffir_data("srx4") / "case-a.npz")
    with torch.no_grad():
        network.denoise.resmlp[0].bias[0] += 0.1
        out = network(torch.from_numpy(data["net_input"]), torch.from_numpy(data["z_T"]))
    assert np.abs(out.numpy() - data["dirformer_out"]).max() > 1e-4


def test_a_lightning_file_says_what_it_set_aside(diffir_data):
    _, notes = opened(diffir_data("inpainting") / "last.ckpt")
    assert "took 'state_dict' of epoch, global_step" in notes
    assert "took the 166 tensors under 'generator.'" in notes
    assert "set aside 4 others: generatorS1.E.E.0.weight" in notes


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ({"params": 2, "params_ema": 1}, "took 'params_ema' of params, params_ema; \"state_key\" in --config chooses"),
        ({"params_ema": 1}, ""),
        ({"params": 1}, ""),
        ({"params": 1, "params_ema": None}, "took 'params' of params, params_ema"),
        ({"state_dict": 1, "epoch": 3}, "took 'state_dict' of state_dict, epoch"),
    ],
)
def test_the_averaged_weights_come_first(official, tmp_path, kept, words):
    wanted = {seed: official(seed=seed) for seed in (1, 2) if seed in kept.values()}
    torch.save({key: wanted[seed][1] if seed in wanted else seed for key, seed in kept.items()}, tmp_path / "net.pth")
    loaded, notes = opened(tmp_path / "net.pth")
    assert same(loaded, wanted[1][0])
    assert words in notes


def test_state_key_chooses_the_others(official, tmp_path):
    (_, averaged), (network, last) = official(seed=1), official(seed=2)
    torch.save({"params": last, "params_ema": averaged}, tmp_path / "net.pth")
    loaded, notes = opened(tmp_path / "net.pth", state_key="params")
    assert same(loaded, network)
    assert "took 'params' of params, params_ema" in notes


@pytest.mark.parametrize("prefix", ["", "module.", "generator.", "module.generator.", "generator.module.", "net_g."])
def test_prefixes(official, prefix):
    network, tensors = official(seed=3)
    notes: list[str] = []
    assert same(load("w.pth", {f"{prefix}{name}": tensor for name, tensor in tensors.items()}, notes), network)
    assert ("module." in str(notes)) == ("module." in prefix)


def test_wrappers_on_some_names_only(official):
    network, tensors = official(seed=3)
    mixed = {("module." * (at % 2)) + name: tensor for at, (name, tensor) in enumerate(tensors.items())}
    assert same(load("w.pth", mixed, []), network)
    with pytest.raises(CheckpointError, match=r"two tensors that both mean G\.patch_embed"):
        load("w.pth", {**tensors, "module.G.patch_embed.proj.weight": tensors["G.patch_embed.proj.weight"]}, [])


def test_folders_and_safetensors(official, tmp_path):
    network, tensors = official(seed=4)
    model = tmp_path / "big-lama"
    (model / "models").mkdir(parents=True)
    (model / "config.yaml").write_text("generatorS2_path: /nowhere/S2.pth\nkind: !!python/object/apply:os.abort []\n")
    torch.save({"state_dict": {f"generator.{k}": v for k, v in tensors.items()}}, model / "models" / "last.ckpt")
    torch.save({"state_dict": {}}, model / "models" / "epoch=3.ckpt")
    loaded, notes = opened(model)
    assert same(loaded, network)
    assert "took the folder models/" in notes
    assert "took last.ckpt; left epoch=3.ckpt" in notes
    folder = tmp_path / "flat"
    folder.mkdir()
    save_file(tensors, folder / "diffir.safetensors")
    (folder / "config.json").write_text("not even JSON")
    loaded, notes = opened(folder)
    assert same(loaded, network)
    assert "left config.json unread" in notes


def test_copies_may_be_absent_or_share_storage_or_stand_alone(official, tmp_path):
    network, tensors = official(seed=5)
    plain = {n: t for n, t in tensors.items() if not n.startswith(("diffusion.model.", "diffusion.condition."))}
    only = {n: t for n, t in tensors.items() if not n.startswith(("denoise.", "condition."))}
    shared = {
        n: tensors[n.replace("diffusion.model", "denoise").replace("diffusion.condition", "condition")] for n in tensors
    }
    for stored in (plain, only, shared):
        torch.save(stored, tmp_path / "w.pth")
        loaded, notes = opened(tmp_path / "w.pth")
        assert same(loaded, network)
        assert ("dropped" in notes) == (stored is shared)


@pytest.mark.parametrize("name", ["diffusion.model.resmlp.0.bias", "diffusion.condition.E.0.weight"])
def test_copies_that_differ_are_refused(official, name):
    _, tensors = official()
    for change in (lambda t: t.flatten()[0].add_(1e-6), lambda t: t.mul_(0).mul_(-1)):
        edited = {key: tensor.clone() for key, tensor in tensors.items()}
        change(edited[name])
        with pytest.raises(CheckpointError) as caught:
            load("w.pth", edited, [])
        assert f"its copy {name} with other numbers" in caught.value.found
        assert "would use the copy under diffusion." in caught.value.mend
    with pytest.raises(CheckpointError, match="with other numbers"):
        load("w.pth", {**tensors, name: tensors[name].double()}, [])


def test_negative_zero_is_another_number(official):
    _, tensors = official()
    name = "denoise.resmlp.0.bias"
    tensors[name], tensors["diffusion.model.resmlp.0.bias"] = torch.zeros(256), -torch.zeros(256)
    with pytest.raises(CheckpointError, match="with other numbers"):
        load("w.pth", tensors, [])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(official, dtype):
    network, tensors = official(seed=6)
    notes: list[str] = []
    loaded = load("w.pth", {name: tensor.to(dtype) for name, tensor in tensors.items()}, notes)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    assert torch.equal(loaded.G.patch_embed.proj.weight, network.G.patch_embed.proj.weight.to(dtype).float())
    assert f"of {dtype}" in notes[-1]


EDITS = {
    "one name missing": ({"G.reduce_chan_level3.weight": None}, "1 missing: G.reduce_chan_level3.weight"),
    "a buffer missing": ({"diffusion.betas": None}, "no usable tensor diffusion.betas"),
    "one name too many": ({"G.prompt.weight": torch.zeros(2)}, "1 unexpected: G.prompt.weight"),
    "an unknown buffer": ({"diffusion.gammas": torch.zeros(4)}, "1 unexpected: diffusion.gammas"),
    "an unknown copy": ({"diffusion.model.extra": torch.zeros(4)}, "1 unexpected: denoise.extra"),
    "a buffer out of place": ({"betas": torch.zeros(4)}, "1 unexpected: betas"),
    "half a block": ({"G.latent.0.ffn.dwconv.weight": None}, "1 missing: G.latent.0.ffn.dwconv.weight"),
    "a block without temperature": (
        {"G.latent.1.attn.qkv.weight": torch.zeros(96, 32, 1, 1)},
        "1 unexpected: G.latent.1.attn.qkv.weight",
    ),
    "another size": ({"G.up4_3.body.0.weight": torch.zeros(64, 32, 1, 1)}, "1 wrong shape: G.up4_3.body.0.weight"),
    "whole numbers": ({"G.up4_3.body.0.weight": torch.zeros(64, 32, 3, 3, dtype=torch.int64)}, "1 not floating"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_names_and_sizes_are_strict(official, edit):
    _, tensors = official()
    changes, found = EDITS[edit]
    changed = {name: tensor for name, tensor in {**tensors, **changes}.items() if tensor is not None}
    with pytest.raises(CheckpointError) as caught:
        load("w.pth", changed, [])
    assert found in str(caught.value)


def test_two_networks_in_one_file_are_asked_about(official):
    _, tensors = official()
    both = {f"{prefix}{name}": tensor for prefix in ("a.", "b.") for name, tensor in tensors.items()}
    with pytest.raises(CheckpointError, match=r"2 networks, under 'a\.' and 'b\.'.*key_prefix"):
        load("w.pth", both, [])


def test_a_small_file_cannot_make_us_build_a_large_network(official):
    """1024 wide with 200 blocks a level would be half a terabyte; only what is stored is ever allocated."""
    _, tensors = official()
    tensors["G.patch_embed.proj.weight"] = torch.zeros(1024, 3, 1, 1)
    for stage in ("latent",):
        tensors |= {f"G.{stage}.{k}.attn.temperature": torch.ones(8, 1, 1) for k in range(200)}
        tensors |= {f"G.{stage}.{k}.ffn.project_out.weight": torch.zeros(1, 70, 1, 1) for k in range(200)}
    with pytest.raises(CheckpointError, match="missing"):
        load("w.pth", tensors, [])


def test_look_alikes_are_claimed_and_refused_by_name(official):
    _, tensors = official()
    stage_1 = {n: t for n, t in tensors.items() if n.startswith("G.")} | {"E.E.0.weight": torch.zeros(64, 51, 3, 3)}
    restormer = {n.removeprefix("G."): t for n, t in tensors.items() if n.startswith("G.") and "kernel" not in n}
    for stored, words in (
        (stage_1, "stage 1"),
        (restormer, "a Restormer"),
        ({"x": torch.zeros(1)}, "no part of DiffIR"),
    ):
        assert claims(Weights(where="w.pth", tensors=stored, config={})) == ("x" not in stored)
        with pytest.raises(CheckpointError, match=words):
            load("w.pth", stored, [])
    assert claims(Weights(where="w.pth", tensors=tensors, config={}))
