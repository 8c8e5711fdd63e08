"""From a path and a config to a model."""

from __future__ import annotations

import json

import pytest
import torch

from lqhq.export.families import FAMILIES
from lqhq.export.load import load_model
from lqhq.export.settings import Sampling, Settings
from lqhq.runtime.errors import CheckpointError, OptionError


def test_what_it_stores_loads_the_same_model_again(film):
    folder = film()
    flags = Settings(schedules={"soft": Sampling(grid=(1.0, 0.5, 0.0), noise="const", eps=0.01)}, name="mine")
    first = load_model(FAMILIES[0], folder, flags=flags)
    second = load_model(FAMILIES[0], folder, config=json.loads(json.dumps(first.config)))
    assert second.settings == first.settings
    assert second.recipe.schedules == first.recipe.schedules
    assert second.recipe.default_schedule == "fast"


def test_flags_that_contradict_the_file_are_refused(film):
    with pytest.raises(OptionError, match="--scale"):
        load_model(FAMILIES[0], film(), flags=Settings(scale=4))


def test_a_wrapped_state_dict_is_unwrapped_and_reported(golden_model, goldens, tmp_path):
    inner = torch.load(goldens["f_guided"].path, weights_only=True)
    wrapped = {"step": 7, "model_state": {f"module.{name}": tensor for name, tensor in inner.items()}}
    torch.save(wrapped, tmp_path / "w.ckpt")
    with pytest.raises(CheckpointError, match="state_key"):
        golden_model("f_guided", path=tmp_path / "w.ckpt")
    model = golden_model("f_guided", path=tmp_path / "w.ckpt", state_key="model_state")
    assert any("'module.' off all" in note for note in model.notes)
    assert torch.equal(model.network.module.out[2].bias, inner["out.2.bias"])


def test_half_the_width_is_a_flag_that_does_not_fit(golden_model):
    with pytest.raises(CheckpointError, match="num_channels"):
        golden_model("f_guided", num_channels=64)


def test_the_wrong_format_is_refused(golden_model):
    with pytest.raises(CheckpointError, match="found"):
        golden_model("f_guided", form="indiunet")


def test_a_missing_time_scale_is_asked_for(golden_model):
    with pytest.raises(CheckpointError, match="time_scale"):
        golden_model("f_guided", time_scale="absent")


def test_a_null_in_the_file_is_not_given(film):
    folder = film(schedules=None)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, "schedules": None}))
    model = load_model(FAMILIES[0], folder, flags=Settings(schedules={"fast": Sampling(steps=1)}))
    assert list(model.config["schedules"]) == ["fast"]
