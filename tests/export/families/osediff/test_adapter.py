"""The checkpoint as a value: every entry once, or a refusal that says which."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from lqhq.export.families.osediff.adapter import load_adapter
from lqhq.runtime.errors import CheckpointError


class Harmful:
    def __reduce__(self):
        return os.system, ("true",)


def drop(content, part, ending):
    name = next(name for name in content[part] if name.endswith(ending))
    del content[part][name]


def move(content, part, ending, change):
    name = next(name for name in content[part] if name.endswith(ending))
    content[part][name] = change(content[part][name])


def add(content, key, name, value):
    content[key] = {**content[key], name: value} if isinstance(content[key], dict) else [*content[key], name]


REFUSED = {
    "no lora_A": (lambda c: drop(c, "state_dict_unet", "lora_A.default_decoder.weight"), "lora_A.default_decoder"),
    "no lora_B": (lambda c: drop(c, "state_dict_vae", "lora_B.default_encoder.weight"), "lora_B.default_encoder"),
    "no base_layer": (lambda c: drop(c, "state_dict_unet", "base_layer.bias"), "no conv_in.base_layer.bias"),
    "module without weights": (
        lambda c: add(c, "unet_lora_others_modules", "mid_block.extra", None),
        "mid_block.extra",
    ),
    "weights without module": (lambda c: c["unet_lora_decoder_modules"].remove("conv_out"), "conv_out.lora_A"),
    "stray entry": (lambda c: add(c, "state_dict_vae", "decoder.conv_in.weight", torch.zeros(1)), "decoder.conv_in"),
    "two lists": (lambda c: add(c, "unet_lora_others_modules", "conv_out", None), "another list"),
    "rank told wrong": (lambda c: c.update(rank_unet=5), "rank 5"),
    "rank no number": (lambda c: c.update(rank_vae=True), "rank_vae"),
    "not finite": (
        lambda c: move(c, "state_dict_unet", "lora_B.default_encoder.weight", lambda t: t / 0),
        "NaN or infinite",
    ),
    "whole numbers": (lambda c: move(c, "state_dict_vae", "lora_A.default_encoder.weight", lambda t: t.int()), "int32"),
    "wide lora_B": (
        lambda c: move(c, "state_dict_vae", "conv_in.lora_B.default_encoder.weight", lambda t: t.repeat(1, 1, 3, 3)),
        "lora_B",
    ),
    "key missing": (lambda c: c.pop("rank_vae"), "no rank_vae"),
    "key extra": (lambda c: c.update(lora_alpha=16), "unknown keys lora_alpha"),
    "no tensors": (lambda c: c.update(state_dict_vae={"a": 1}), "state_dict_vae"),
    "no names": (lambda c: c.update(vae_lora_encoder_modules="conv_in"), "vae_lora_encoder_modules"),
}


@pytest.fixture(scope="module")
def content(data):
    return lambda: torch.load(data / "osediff.pkl", weights_only=True)


def test_the_golden_file(data):
    adapter = load_adapter(data / "osediff.pkl")
    assert (adapter.rank_unet, adapter.rank_vae) == (4, 4)
    assert (len(adapter.unet), len(adapter.vae)) == (258, 32)
    assert adapter.source.name == "osediff.pkl"
    assert adapter.source.bytes == (data / "osediff.pkl").stat().st_size
    assert adapter.unet["conv_in"].down.shape == (4, 4, 3, 3)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(content, tmp_path, name):
    change, word = REFUSED[name]
    told = content()
    change(told)
    torch.save(told, tmp_path / "osediff.pkl")
    with pytest.raises(CheckpointError, match=word):
        load_adapter(tmp_path / "osediff.pkl")


def test_a_file_with_code_never_runs(tmp_path):
    (tmp_path / "osediff.pkl").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CheckpointError, match="plain weights"):
        load_adapter(tmp_path / "osediff.pkl")


@pytest.mark.parametrize("data_bytes", [b"", b"PK\x03\x04nothing", b"\x80\x02."])
def test_damaged_files(tmp_path, data_bytes):
    (tmp_path / "osediff.pkl").write_bytes(data_bytes)
    with pytest.raises(CheckpointError):
        load_adapter(tmp_path / "osediff.pkl")


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="no regular file"):
        load_adapter(tmp_path)


def test_something_else(tmp_path):
    torch.save([1, 2], tmp_path / "osediff.pkl")
    with pytest.raises(CheckpointError, match="a list"):
        load_adapter(tmp_path / "osediff.pkl")


def test_tensors_that_share_memory_are_refused(tmp_path: Path, data: Path) -> None:
    """A small file of one tensor under many names would fill the memory, one float32 copy for each."""
    stored = torch.load(data / "osediff.pkl", weights_only=True)
    one = torch.zeros(64, 4096, dtype=torch.float16)
    stored["state_dict_unet"] |= {f"copy.{index}": one for index in range(50)}
    torch.save(stored, tmp_path / "shared.pkl")
    with pytest.raises(CheckpointError, match="room of their own"):
        load_adapter(tmp_path / "shared.pkl")


def test_tensors_without_memory_are_refused(tmp_path: Path, data: Path) -> None:
    stored = torch.load(data / "osediff.pkl", weights_only=True)
    name = next(iter(stored["state_dict_vae"]))
    stored["state_dict_vae"][name] = torch.empty(stored["state_dict_vae"][name].shape, device="meta")
    torch.save(stored, tmp_path / "meta.pkl")
    with pytest.raises(CheckpointError, match="a dense tensor of floats"):
        load_adapter(tmp_path / "meta.pkl")
