"""`lqhq export` and `lqhq parity` through the entry point, on a tiny network of lqhq's own format."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.tools.cli.main import run

SHAPE = {"width": 4, "blocks": 0, "time_width": 4, "fold": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """A checkpoint and the bundle that the command line exported from it."""
    root = tmp_path_factory.mktemp("made")
    checkpoint = root / "checkpoint"
    checkpoint.mkdir()
    torch.manual_seed(3)
    save_file(FilmResNet(**SHAPE).state_dict(), checkpoint / "model.safetensors")
    told = {
        "format": "lqhq-indi",
        "network": "film_resnet",
        **SHAPE,
        "time_scale": 1.0,
        "scale": 2,
        "resize": "bicubic",
    }
    (checkpoint / "config.json").write_text(json.dumps(told))
    argv = ["export", "indi", str(checkpoint), "-o", str(root / "bundle")]
    assert run([*argv, "--schedule=fast=steps:1", "--schedule=soft=steps:3,noise:brownian,eps:0.1"]) == 0
    return checkpoint, root / "bundle"


@pytest.fixture(scope="module")
def half(made, tmp_path_factory) -> Path:
    """The bundle of the same checkpoint with half precision; photos are none of its business, so a small one is."""
    root = tmp_path_factory.mktemp("half")
    write_image(root / "a.png", ImageFile(pixels=np.zeros((20, 20, 3), np.uint8)))
    argv = ["export", "indi", str(made[0]), "-o", str(root / "bundle"), "--schedule=fast=steps:1"]
    assert run([*argv, "--precision=fp16", "--image", str(root / "a.png")]) == 0
    return root / "bundle"


def test_half_precision_from_the_stored_arrays(half, capsys):
    assert run(["parity", str(half), "--precision", "fp16"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("parity holds in 4 cases (fp16, emulated: ")
    assert run(["parity", str(half), "--precision", "fp16", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["passed"], told["precision"]) == (True, "fp16")


def test_half_precision_against_the_checkpoint(made, half, photo, capsys):
    argv = ["parity", str(half), "--checkpoint", str(made[0]), "--precision", "fp16", "--image", str(photo)]
    assert run([*argv, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert any(case["case"].startswith("photo.png ") for case in told["cases"])
    assert {case["what"] for case in told["cases"]} >= {"largest value", "finite", "extreme image", "image, PyTorch"}
    assert run([*argv, "--least-psnr", "150"]) == 1  # the planted fault: more than half precision can be
    assert "PARITY FAILS" in capsys.readouterr().out


def test_a_search_that_finds_nothing_to_keep_writes_an_empty_plan(made, half, photo, tmp_path, capsys):
    argv = ["parity", str(half), "--checkpoint", str(made[0]), "--image", str(photo)]
    assert run([*argv, "--bisect-precision", "fp16", "-o", str(tmp_path / "plan.json")]) == 0
    assert json.loads((tmp_path / "plan.json").read_text())["islands"] == {"denoise": []}
    assert "give it to `lqhq export --precision-plan`" in capsys.readouterr().out


@pytest.fixture
def photo(tmp_path) -> Path:
    file = tmp_path / "photo.png"
    pixels = np.random.default_rng(9).integers(0, 65536, (15, 21, 4), dtype=np.uint16)
    write_image(file, ImageFile(pixels=pixels))
    return file


def test_the_bundle_checks_itself(made, capsys):
    assert run(["parity", str(made[1])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "parity holds in 4 cases"


def test_it_does_so_without_torch(made):
    """In a process where torch and diffusers cannot be imported."""
    code = (
        "import sys\n"
        "for name in ('torch', 'diffusers', 'onnx', 'safetensors'): sys.modules[name] = None\n"
        "from lqhq.tools.cli.main import run\n"
        f"sys.exit(run(['parity', {str(made[1])!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "parity holds" in done.stdout


def test_against_the_checkpoint_with_a_photo(made, photo, capsys):
    checkpoint, bundle = made
    assert run(["parity", str(bundle), "--checkpoint", str(checkpoint), "--image", str(photo), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["passed"] is True
    assert any(case["case"] == "photo.png 15x21, fast" for case in data["cases"])
    assert {case["what"] for case in data["cases"]} == {"denoise", "trajectory", "image"}


def test_another_checkpoint_is_told_apart_and_fails(made, tmp_path, capsys):
    """The planted fault: one bias moved by a thousandth."""
    other = tmp_path / "other"
    shutil.copytree(made[0], other)
    tensors = load_file(other / "model.safetensors")
    tensors["tail.bias"] = tensors["tail.bias"] + 1e-3
    save_file(tensors, other / "model.safetensors")
    assert run(["parity", str(made[1]), "--checkpoint", str(other)]) == 1
    captured = capsys.readouterr()
    assert "PARITY FAILS" in captured.out


def test_the_bundle_and_the_same_weights_in_another_file_agree(made, tmp_path, capsys):
    checkpoint, bundle = made
    other = tmp_path / "stored-anew"
    other.mkdir()
    torch.save(load_file(checkpoint / "model.safetensors"), other / "w.pt")
    (other / "config.json").write_text((checkpoint / "config.json").read_text() + " ")
    assert run(["parity", str(bundle), "--checkpoint", str(other)]) == 0
    assert "is not a file that the bundle was exported from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--image", "x.png"], "--image: found it alone; expected it with --checkpoint"),
        (["--config", "x.json"], "--config: found it alone; expected it with --checkpoint"),
        (["--mask", "x.png"], "--mask: found it alone; expected it with --checkpoint"),
        (["--least-psnr", "40", "--precision", "fp16"], "--least-psnr: found it alone; expected it with --checkpoint"),
        (["--bisect-precision", "fp16", "-o", "p"], "--bisect-precision: found it alone; expected it with --checkp"),
        (["-o", "p"], "-o: found it alone; expected it with --bisect-precision"),
        (["--checkpoint", "CKPT", "-o", "p"], "-o: found it alone; expected it with --bisect-precision"),
        (
            ["--checkpoint", "CKPT", "--bisect-precision", "fp16"],
            "--bisect-precision: found it alone; expected it with -o",
        ),
        (
            ["--checkpoint", "CKPT", "--engine", "tensorrt"],
            "--engine: found it beside what does not use it; expected no --checkpoint",
        ),
        (["--checkpoint", "CKPT", "--device", "cuda"], "--device: found it beside"),
        (["--checkpoint", "CKPT", "--cache", "c"], "--cache: found it beside"),
        (["--checkpoint", "CKPT", "--least-psnr", "40"], "expected it with a half --precision"),
        (["--checkpoint", "CKPT", "--least-psnr", "0"], "expected it with a half --precision"),
        (["--precision", "bf16"], "precision: found 'bf16'; expected one of"),
        (["--precision", "bf16", "--checkpoint", "CKPT"], "precision: found 'bf16'; expected one of"),
        (["--checkpoint", "CKPT", "--precision", "fp16", "--mask", "x.png"], "1 for 0 images"),
        (["--checkpoint", "CKPT", "--bisect-precision", "fp16", "-o", "p", "--json"], "--json"),
        (["--checkpoint", "absent"], "found nothing"),
        (["--checkpoint", "x" * 300], "found nothing"),
        (["--threads", "0"], "expected 1 to"),
        (["--threads", "-1"], "expected 1 to"),
        (["--threads", "100000"], "expected 1 to"),
        (["--threads", "100000", "--checkpoint", "CKPT"], "expected 1 to"),
    ],
)
def test_wrong_requests_exit_with_2(made, argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = [str(made[0]) if word == "CKPT" else word for word in argv]
    assert run(["parity", str(made[1]), *argv]) == 2
    assert words in capsys.readouterr().err


def test_a_config_that_contradicts_the_bundle_exits_with_2(made, tmp_path, capsys):
    (tmp_path / "c.json").write_text('{"time_scale": 1000.0}')
    argv = ["parity", str(made[1]), "--checkpoint", str(made[0]), "--config", str(tmp_path / "c.json")]
    assert run(argv) == 2
    assert "time_scale" in capsys.readouterr().err
