"""`lqhq export`: requests that must end without a bundle. Good exports: test_parity.py and tests/export."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lqhq.export import pipeline
from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.export.half_settings import IslandPlan, write_plan
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
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


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--precision=half"], "'half': expected some of fp32, fp16, bf16, each once"),
        (["--precision=fp16,fp16"], "each once"),
        (["--precision="], "expected some of"),
        (["--precision=fp16,"], "expected some of"),
        (["--image=a.png"], "--image: found fp32 alone; expected a half precision. Give --precision fp16"),
        (["--mask=a.png"], "--mask: found fp32 alone"),
        (["--least-psnr=40"], "--least-psnr: found fp32 alone"),
        (["--least-psnr=0"], "--least-psnr: found fp32 alone"),
        (["--precision=fp32", "--precision-plan=p.json"], "--precision-plan: found fp32 alone"),
        (["--precision=fp16", "--precision-plan=absent.json"], "--precision-plan absent.json: found No such file"),
        (["--precision=fp16", "--image=absent.png"], "absent.png"),
        (["--precision=fp16", "--mask=a.png"], "1 for 0 images"),
        (["--precision=fp16", "--least-psnr=much"], "expected decibels, 0 to 200"),
        (["--precision=fp16", "--least-psnr=nan"], "--least-psnr"),
    ],
)
def test_options_of_half_precision_that_cannot_be_are_refused(checkpoint, tmp_path, monkeypatch, flags, words, capsys):
    monkeypatch.chdir(tmp_path)
    reached = []
    monkeypatch.setattr(pipeline, "export_bundle", lambda *args, **options: (tmp_path, reached.append(options)))
    assert status(["export", "indi", str(checkpoint), "-o", str(tmp_path / "out"), *flags]) == 2
    assert words in capsys.readouterr().err
    assert reached == []


def status(argv) -> int:
    """Of a command; argparse leaves by an exception."""
    try:
        return run(argv)
    except SystemExit as exit:
        return exit.code


@pytest.mark.parametrize(
    ("flag", "precisions"),
    [
        ([], ("fp32",)),
        (["--precision=fp16"], ("fp16",)),
        (["--precision=bf16,fp16"], ("fp16", "bf16")),
        (["--precision", "fp32,fp16,bf16"], ("fp32", "fp16", "bf16")),
    ],
)
def test_lists_of_precisions_reach_the_export(checkpoint, tmp_path, monkeypatch, flag, precisions):
    told = []
    monkeypatch.setattr(pipeline, "export_bundle", lambda *args, **options: (tmp_path, told.append(options)))
    assert run(["export", "indi", str(checkpoint), "-o", str(tmp_path / "out"), *flag]) == 0
    assert tuple(told[0]["precisions"]) == precisions


def test_plans_photos_and_the_bound_reach_the_export(checkpoint, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(pipeline, "export_bundle", lambda *args, **options: (tmp_path, told.append(options["half"])))
    plans = {one: IslandPlan(precision=one, islands={"denoise": ("module",)}, psnr=50) for one in ("fp16", "bf16")}
    argv = ["export", "indi", str(checkpoint), "-o", str(tmp_path / "out"), "--precision=fp16,bf16", "--least-psnr=41"]
    for precision, plan in plans.items():
        write_plan(plan, tmp_path / f"{precision}.json")
        argv += ["--precision-plan", str(tmp_path / f"{precision}.json")]
    write_image(tmp_path / "a.png", ImageFile(pixels=np.zeros((9, 9, 3), np.uint8)))
    assert run([*argv, "--image", str(tmp_path / "a.png")]) == 0
    assert dict(told[0].plans) == plans
    assert list(told[0].photos) == ["a.png"]
    assert told[0].least_psnr == 41.0


@pytest.mark.parametrize(
    ("precision", "given"), [("bf16", ["fp16"]), ("fp16", ["fp16", "fp16"]), ("fp16", ["fp16", "bf16"])]
)
def test_a_plan_that_would_do_nothing_is_refused(checkpoint, tmp_path, precision, given, capsys):
    argv = ["export", "indi", str(checkpoint), "-o", str(tmp_path / "out"), f"--precision={precision}"]
    for index, one in enumerate(given):
        write_plan(IslandPlan(precision=one, islands={"denoise": ()}, psnr=50), tmp_path / f"{index}.json")
        argv += ["--precision-plan", str(tmp_path / f"{index}.json")]
    assert run(argv) == 2
    assert f"found a plan for {given[-1]}; expected one for each precision" in capsys.readouterr().err
