"""`lqhq export`: requests that must end without a bundle. Good exports: test_parity.py and tests/export."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from lqhq.export import pipeline
from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.tools.cli.main import run

SHAPE = {"width": 4, "blocks": 0, "time_width": 4, "fold": 2}
TOLD = {"format": "lqhq-indi", "network": "film_resnet", **SHAPE}


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(3)
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    save_file(FilmResNet(**SHAPE).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(TOLD))
    return folder


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "--time-scale"),
        (["--time-scale=1"], "--schedule"),
        (["--time-scale=1", "--schedule=a=steps:1", "--scale=2"], "--resize"),
        (["--time-scale=1", "--schedule=a=steps:5,noise:const"], "eps"),
        (["--time-scale=1", "--schedule=a=grid:1/0.5"], "grid"),
        (["--time-scale=1", "--schedule=a=steps:1", "--format=guided"], "found"),
        (["--time-scale=1", "--schedule=a=steps:1", "--config=absent.json"], "absent.json"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_written(checkpoint, tmp_path, argv, words, capsys):
    assert run(["export", "indi", str(checkpoint), "-o", str(tmp_path / "out"), *argv]) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_an_unknown_family_and_a_missing_checkpoint(checkpoint, tmp_path, capsys):
    assert run(["export", "gan", str(checkpoint), "-o", str(tmp_path / "out")]) == 2
    assert run(["export", "indi", str(tmp_path / "absent.pt"), "-o", str(tmp_path / "out")]) == 2
    assert "found nothing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "other.json"])
def test_a_key_given_twice_in_a_config_is_refused(checkpoint, tmp_path, name, capsys):
    (checkpoint / name).write_text('{"time_scale": 1, "time_scale": 1000}')
    argv = ["export", "indi", str(checkpoint), "-o", str(tmp_path / "out"), "--config", str(checkpoint / name)]
    assert run(argv) == 2
    assert "'time_scale' twice" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_kept(checkpoint, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    argv = [
        "export",
        "indi",
        str(checkpoint),
        "-o",
        str(tmp_path / "out"),
        "--time-scale=1",
        "--schedule=a=steps:1",
    ]
    assert run(argv) == 2
    assert run([*argv, "--overwrite"]) == 2  # no bundle: not ours to replace
    assert (tmp_path / "out").is_dir()


def test_a_failed_verdict_exits_with_1(checkpoint, tmp_path, monkeypatch, capsys):
    def fail(*args, **options):
        raise pipeline.ParityError("out", found="a difference", expected="none", mend="Report it.")

    monkeypatch.setattr(pipeline, "export_bundle", fail)
    assert run(["export", "indi", str(checkpoint), "-o", str(tmp_path / "out")]) == 1
    assert "a difference" in capsys.readouterr().out
