"""`lqhq upscale`, through its entry point, on the tiny bundle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.image_file import ImageFile, read_image
from lqhq.runtime.image_write import write_image
from lqhq.runtime.restorer import Restorer
from lqhq.tools.cli.main import run


def picture(seed: int, height: int = 9, width: int = 11, channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    high = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, high, (height, width, channels), dtype=dtype, endpoint=True)


@pytest.fixture
def bundle(tiny_bundle) -> str:
    return str(tiny_bundle(scale=4))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    write_image(folder / "a.png", ImageFile(pixels=picture(1)))
    write_image(folder / "sub" / "b.tif", ImageFile(pixels=picture(2, dtype="uint16")))
    return folder


def test_one_file(bundle, photos, tmp_path, capsys):
    out = tmp_path / "big.png"
    assert run(["upscale", bundle, str(photos / "a.png"), "-o", str(out)]) == 0
    with Restorer.open(bundle) as restorer:
        assert np.array_equal(read_image(out).pixels, restorer.restore(picture(1)))
    captured = capsys.readouterr()
    assert "44x36" in captured.out
    assert "tile" in captured.err  # the choice that `auto` made is printed


def test_a_folder_keeps_depth_names_and_reports_json(bundle, photos, tmp_path, capsys):
    assert run(["upscale", bundle, str(photos), "-o", str(tmp_path / "out"), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [(f["status"], f["size"]) for f in files] == [("done", [44, 36])] * 2
    assert read_image(tmp_path / "out" / "sub" / "b.tif").pixels.dtype == np.uint16


def test_one_bad_file_does_not_stop_the_rest(bundle, photos, tmp_path, capsys):
    (photos / "0bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    assert run(["upscale", bundle, str(photos), "-o", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "failed: " in captured.err
    assert "1 of 3 files failed" in captured.err
    assert sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file()) == ["a.png", "b.tif"]


def test_resume_skips_what_is_finished(bundle, photos, tmp_path, capsys):
    arguments = ["upscale", bundle, str(photos), "-o", str(tmp_path / "out"), "--resume"]
    assert run(arguments) == 0
    (tmp_path / "out" / "a.png").unlink()
    stamp = (tmp_path / "out" / "sub" / "b.tif").stat().st_mtime_ns
    capsys.readouterr()
    assert run(arguments) == 0
    assert "skipped" in capsys.readouterr().out
    assert (tmp_path / "out" / "a.png").exists()
    assert (tmp_path / "out" / "sub" / "b.tif").stat().st_mtime_ns == stamp


def test_any_order_gives_the_same_bytes(bundle, photos, tmp_path):
    names = [str(photos / "a.png"), str(photos / "sub" / "b.tif")]
    for index, order in enumerate((names, names[::-1])):
        options = ["--schedule", "noisy", "--seed", "5", "--tile", "16", "--overlap", "4"]
        assert run(["upscale", bundle, *order, "-o", str(tmp_path / str(index)), *options]) == 0
    for name in ("a.png", "b.tif"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


@pytest.mark.parametrize(
    ("target", "kind", "code", "message"),
    [("x.jpg", "uint16", 1, "16 bit for JPEG"), ("x.gif", "uint8", 2, "suffix '.gif'")],
)
def test_what_the_output_cannot_hold_is_told_before_the_work(
    bundle, tmp_path, capsys, monkeypatch, target, kind, code, message
):
    source = tmp_path / "in.png"
    write_image(source, ImageFile(pixels=picture(3, dtype=kind)))
    monkeypatch.setattr(Restorer, "restore", lambda *_, **__: pytest.fail("restored in vain"))
    assert run(["upscale", bundle, str(source), "-o", str(tmp_path / target)]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / target).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schedule", "best"], "one of fast, noisy, three"),
        (["--tile", "30"], "a multiple of 4"),
        (["--memory", "1K"], "--memory"),
    ],
)
def test_options_that_do_not_fit_end_with_an_error(bundle, photos, tmp_path, capsys, arguments, message):
    code = run(["upscale", bundle, str(photos / "a.png"), "-o", str(tmp_path / "x.png"), *arguments])
    assert code in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tile", "-4"],
        ["--tile", "0"],
        ["--tile", "٦٤"],
        ["--tile", "2147483648"],
        ["--overlap", "-1"],
        ["--overlap", "4.5"],
        ["--seed", "-1"],
        ["--seed", "18446744073709551616"],
        ["--seed", "9" * 5000],
        ["--threads", "0"],
        ["--threads", "9" * 15],
        ["--memory", "lots"],
        ["--memory", "9" * 500],
        ["--blend", "soft"],
        ["--color-fix", "best"],
    ],
)
def test_what_no_image_could_make_right_is_a_usage_error(bundle, photos, tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(Restorer, "open", lambda *_, **__: pytest.fail("opened in vain"))
    with pytest.raises(SystemExit) as caught:
        run(["upscale", bundle, str(photos), "-o", str(tmp_path / "out"), *arguments])
    assert caught.value.code == 2


def test_the_highest_seed_is_taken(bundle, photos, tmp_path):
    arguments = ["upscale", bundle, str(photos / "a.png"), "-o", str(tmp_path / "x.png"), "--schedule", "noisy"]
    assert run([*arguments, "--seed", str(2**64 - 1)]) == 0


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--blend", "each", "--tile", "16", "--overlap", "4"], {"blend": "each", "tile": 16, "overlap": 4}),
        (["--color-fix", "wavelet"], {"color_fix": "wavelet"}),
        (["--color-fix", "adain"], {"color_fix": "adain"}),
        (["--memory", "1G", "--threads", "1"], {"memory": 10**9}),
    ],
)
def test_options_do_what_they_do_from_python(bundle, photos, tmp_path, monkeypatch, words, options):
    told, restore = {}, Restorer.restore
    monkeypatch.setattr(Restorer, "restore", lambda *image, **named: told.update(named) or restore(*image, **named))
    target, schedule = tmp_path / "x.png", ["--schedule", "three"]
    assert run(["upscale", bundle, str(photos / "a.png"), "-o", str(target), *schedule, *words]) == 0
    assert {name: told[name] for name in options} == options
    with Restorer.open(bundle, threads=1) as restorer:
        expected = restore(restorer, picture(1), schedule="three", **options)
        plain = restore(restorer, picture(1), schedule="three")
    assert np.array_equal(read_image(target).pixels, expected)
    assert np.array_equal(plain, expected) == ("color_fix" not in options)  # that one must show in the pixels


def test_what_is_told_of_the_engine_reaches_it(bundle, photos, tmp_path, monkeypatch):
    seen = []
    opened = Restorer.open
    monkeypatch.setattr(Restorer, "open", lambda source, **told: seen.append(told) or opened(source, **told))
    words = ["upscale", bundle, str(photos / "a.png"), "-o", str(tmp_path / "x.png")]
    assert run([*words, "--threads", "1", "--device", "cpu"]) == 0
    del seen[0]["say"]
    told = {"engine": "onnx", "device": "cpu", "precision": "fp32", "threads": 1, "profiles": (), "cache": None}
    assert seen == [told]
    more = ["--engine", "tensorrt-rtx", "--precision", "fp16", "--profile", "64x64@2", "--cache", str(tmp_path)]
    assert run([*words, *more]) == 2  # the bundle has no such graph
    one, two = Range(64, 64, 64), Range(2, 2, 2)
    changed = {"engine": "tensorrt-rtx", "device": None, "precision": "fp16", "threads": None, "cache": tmp_path}
    changed["profiles"] = (Profile(batch=two, height=one, width=one),)
    assert {name: seen[1][name] for name in changed} == changed


def test_half_precision_restores_what_float32_does(photos, tmp_path):
    images = []
    for precision in ("fp32", "fp16"):
        target = tmp_path / f"{precision}.png"
        assert run(["upscale", "demo", str(photos / "a.png"), "-o", str(target), "--precision", precision]) == 0
        images.append(read_image(target).pixels.astype(int))
    apart = np.abs(images[0] - images[1])
    assert 0 < apart.max() <= 2


@pytest.mark.parametrize(("source", "target"), [("", "x.png"), ("a.png", "")])
def test_an_empty_name_is_refused(bundle, photos, monkeypatch, capsys, source, target):
    monkeypatch.chdir(photos)
    assert run(["upscale", bundle, source, "-o", target]) == 2
    assert run(["upscale", "", "a.png", "-o", "out/"]) == 2
    errors = capsys.readouterr().err
    assert "found an empty name" in errors
    assert "'': found nothing there" in errors
    assert sorted(path.name for path in photos.rglob("*")) == ["a.png", "b.tif", "sub"]


@pytest.mark.parametrize("target", ["photos/a.png/x.png", "/dev/stdout", "x" * 300 + ".png"])
def test_a_target_that_cannot_be_is_told_before_the_work(bundle, photos, tmp_path, monkeypatch, capsys, target):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Restorer, "restore", lambda *_, **__: pytest.fail("restored in vain"))
    assert run(["upscale", bundle, "photos/a.png", "-o", target]) == 1
    assert "expected to write a file there" in capsys.readouterr().err


def test_a_name_of_more_than_255_bytes_is_told(bundle, tmp_path, capsys):
    assert run(["upscale", bundle, "ü" * 150 + ".png", "-o", str(tmp_path / "out")]) == 1
    assert "File name too long" in capsys.readouterr().err


def test_a_second_run_does_not_take_its_own_results(bundle, photos, capsys):
    arguments = ["upscale", bundle, str(photos), "-o", str(photos / "out"), "--json"]
    assert [run(arguments), run([*arguments, "--resume"])] == [0, 0]
    capsys.readouterr()
    assert run(arguments) == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == 2


def test_the_input_is_named_once_and_cannot_drive_the_terminal(bundle, tmp_path, capsys):
    source = tmp_path / "two\nlines\x1b[2J.png"
    source.write_bytes(b"planted fault")
    assert run(["upscale", bundle, str(source), "-o", str(tmp_path / "out")]) == 1
    text = capsys.readouterr().err
    assert text.count("two?lines?[2J.png") == 1
    assert text.startswith("failed: ")
    write_image(source, ImageFile(pixels=picture(4)))
    assert run(["upscale", bundle, str(source), "-o", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert len((captured.out + captured.err).splitlines()) == 2
    assert "\x1b" not in captured.out + captured.err


def test_a_missing_bundle_and_a_missing_image(bundle, photos, tmp_path, capsys):
    assert run(["upscale", str(tmp_path / "none"), str(photos), "-o", str(tmp_path / "out")]) == 2
    assert run(["upscale", bundle, str(photos / "gone.png"), "-o", str(tmp_path / "out")]) == 1
    assert "gone.png" in capsys.readouterr().err
    assert run(["upscale", bundle, str(tmp_path / "*.webp"), "-o", str(tmp_path / "out")]) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_leaves_no_partial_file(bundle, tmp_path, number):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for index in range(3):
        write_image(source / f"{index}.png", ImageFile(pixels=picture(index, 300, 300)))
    command = [sys.executable, "-m", "lqhq.tools.cli.main", "upscale", bundle, str(source), "-o", str(out)]
    child = subprocess.Popen([*command, "--tile", "16", "--overlap", "4"], stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    child.stderr.readline()  # the first file's tile choice: work has begun
    time.sleep(0.2)
    child.send_signal(number)
    _, text = child.communicate(timeout=30)
    assert child.returncode == (-signal.SIGKILL if number is signal.SIGKILL else 130)
    assert number is signal.SIGKILL or "interrupted" in text
    assert [p for p in out.rglob("*") if p.is_file() and p.suffix != ".png"] == []
    for path in out.rglob("*.png"):
        assert read_image(path).pixels.shape == (1200, 1200, 3)


def test_a_killed_run_resumed_gives_the_bytes_of_one_that_was_not(bundle, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for index in range(3):
        write_image(source / f"{index}.png", ImageFile(pixels=picture(index, 28, 28)))
    arguments = ["upscale", bundle, str(source), "--schedule=noisy", "--seed=3", "--tile=16", "--overlap=4", "-o"]
    command = [sys.executable, "-m", "lqhq.tools.cli.main", *arguments, str(tmp_path / "killed")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for _ in range(2):
            child.stderr.readline()  # the second file's tile choice: the first is finished
        child.kill()
    names = [f"{index}.png" for index in range(3)]
    finished = [name for name in names if (tmp_path / "killed" / name).exists()]
    assert "0.png" in finished
    assert "2.png" not in finished
    assert run([*arguments, str(tmp_path / "killed"), "--resume"]) == 0
    assert run([*arguments, str(tmp_path / "whole")]) == 0
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_mask_for_one_or_for_each(guided_bundle, photos, tmp_path, capsys):
    """Only the hole changes; a folder has a mask of each name."""
    fills = str(guided_bundle(masked=True))
    masks = tmp_path / "masks"
    for name in ("a.png", "sub/b.png"):
        hole = np.zeros((9, 11, 1), np.uint8)
        hole[2:5, 3:7] = 255
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(masks / name, ImageFile(pixels=hole))
    out = tmp_path / "one.png"
    assert run(["upscale", fills, str(photos / "a.png"), "--mask", str(masks / "a.png"), "-o", str(out)]) == 0
    before, after = read_image(photos / "a.png").pixels, read_image(out).pixels
    assert (before != after).any(axis=2)[2:5, 3:7].all()
    assert not (before != after)[hole[:, :, 0] == 0].any()
    assert run(["upscale", fills, str(photos), "--mask", str(masks), "-o", str(tmp_path / "out")]) == 0
    assert np.array_equal(read_image(tmp_path / "out" / "a.png").pixels, after)
    assert read_image(tmp_path / "out" / "sub" / "b.tif").pixels.shape == (9, 11, 3)
    capsys.readouterr()


def test_a_mask_of_another_size_fails_that_file(guided_bundle, photos, tmp_path, capsys):
    write_image(tmp_path / "m.png", ImageFile(pixels=np.zeros((3, 3, 1), np.uint8)))
    arguments = ["upscale", str(guided_bundle(masked=True)), str(photos / "a.png"), "--mask", str(tmp_path / "m.png")]
    assert run([*arguments, "-o", str(tmp_path / "o.png")]) == 1
    assert "m.png: found a mask of 3x3; expected 11x9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("masked", "extra", "message"),
    [
        (True, [], "--mask FILE"),
        (False, ["--mask", __file__], "takes no mask"),
        (True, ["--mask", "gone.png"], "not there"),
        (False, ["--schedule", "fast"], "takes no schedule"),
        (False, ["--blend", "each"], "nothing to blend"),
    ],
)
def test_what_no_image_could_make_right_is_told_first(guided_bundle, photos, tmp_path, capsys, masked, extra, message):
    arguments = ["upscale", str(guided_bundle(masked=masked)), str(photos / "missing.png"), *extra]
    assert run([*arguments, "-o", str(tmp_path / "o.png")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "missing.png" not in error


def test_a_prior_per_tile_is_another_result(guided_bundle, photos, tmp_path):
    bundle, results = str(guided_bundle()), []
    for prior in ("image", "tile"):
        out = tmp_path / f"{prior}.png"
        arguments = ["upscale", bundle, str(photos / "a.png"), "--prior", prior, "--tile", "8"]
        assert run([*arguments, "--overlap", "4", "-o", str(out)]) == 0
        results.append(read_image(out).pixels)
    assert not np.array_equal(*results)
