"""Which of a folder's networks is taken, and the scheduler beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lqhq.export.families.lq_ddpm.locate import locate
from lqhq.export.settings import Settings
from lqhq.runtime.errors import CheckpointError, OptionError

SCHEDULER = {"_class_name": "DDPMScheduler", "beta_end": 0.01}


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A folder with both networks and a scheduler; nothing in it is a network's."""
    for name in ("unet", "unet_ema", "scheduler"):
        (tmp_path / name).mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    for name in ("unet", "unet_ema"):
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


def test_the_averaged_weights_are_taken_and_said(training: Path) -> None:
    found = locate(training, {}, Settings())
    assert found.path.name == "unet_ema"
    assert "averaged" in found.notes[0]
    assert found.config == {"scheduler": SCHEDULER}
    assert found.sources[0].name == "scheduler_config.json"
    assert locate(training, {}, Settings(weights="model")).path.name == "unet"


def test_a_network_s_own_folder_finds_the_scheduler_beside_it(training: Path) -> None:
    found = locate(training / "unet", {}, Settings())
    assert (found.path, found.config) == (training / "unet", {"scheduler": SCHEDULER})


def test_without_a_scheduler_there_is_none(training: Path) -> None:
    (training / "scheduler" / "scheduler_config.json").unlink()
    assert locate(training, {}, Settings()).config == {}


def test_a_scheduler_s_file_may_be_the_config(training: Path) -> None:
    (training / "scheduler" / "scheduler_config.json").unlink()
    assert locate(training, SCHEDULER, Settings()).config == {"scheduler": SCHEDULER}


def test_two_schedulers_that_differ_are_refused(training: Path) -> None:
    with pytest.raises(CheckpointError, match="another configuration"):
        locate(training, {**SCHEDULER, "beta_end": 0.02}, Settings())


def test_a_pipeline_says_that_there_is_no_other(training: Path) -> None:
    (training / "unet_ema" / "config.json").unlink()
    (training / "unet_ema").rmdir()
    (training / "model_index.json").write_text("{}")
    found = locate(training, {}, Settings())
    assert found.path.name == "unet"
    assert "no unet_ema/" in found.notes[0]
    with pytest.raises(OptionError, match="no unet_ema/"):
        locate(training, {}, Settings(weights="ema"))


def test_a_file_is_taken_as_it_is_and_its_averaged_weights_first(tmp_path: Path) -> None:
    file = tmp_path / "model-10.pt"
    file.write_bytes(b"")
    assert locate(file, {}, Settings()).nested_keys == ("ema", "model")
    assert locate(file, {}, Settings()).state_key is None
    assert locate(file, {}, Settings(weights="model")).state_key == "model"
