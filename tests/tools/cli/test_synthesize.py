"""`lqhq synthesize`, through its entry point, on the tiny bundle."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.image_file import ImageFile, read_image
from lqhq.runtime.image_write import write_image
from lqhq.runtime.schedule import Row, Schedule, Start
from lqhq.runtime.synthesis import run as run_file
from lqhq.runtime.synthesis.run import make_pairs
from lqhq.runtime.synthesis_spec import Synthesis
from lqhq.tools.cli import synthesize
from lqhq.tools.cli.main import run

NOMINAL, MOST = 20, 5
SEED = 20261122


@pytest.fixture
def bundle(tiny_bundle) -> str:
    rows = [Row(t=k / NOMINAL, c_state=0.5, c=(0.5,), sigma=0.1) for k in range(MOST, 0, -1)]
    schedules = {f"last-{n}": Schedule(start=Start(c_noise=0.1 * n), rows=tuple(rows[-n:])) for n in range(1, MOST + 1)}
    spec = Synthesis(steps=NOMINAL, schedules=tuple(schedules), most=0.25)
    return str(tiny_bundle(task="degradation", schedules=schedules, default_schedule="last-5", synthesis=spec))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "hq"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    for name in ("a.png", "b.png", "sub/c.png"):
        small = rng.integers(0, 256, (11, 13, 3), dtype=np.uint8)
        write_image(folder / name, ImageFile(pixels=small.repeat(4, 0).repeat(4, 1)[:41, :50]))
    return folder


@pytest.fixture
def settings(monkeypatch):
    """The recipes of runs, which are not made."""
    told = []

    def spy(recipe, sources, out, **named):
        told.append((recipe.settings, named))
        return make_pairs(recipe, (), out)

    monkeypatch.setattr(run_file, "make_pairs", spy)
    return told


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_a_folder_of_pairs(bundle, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["synthesize", bundle, str(photos), "-o", str(out), "--count", "2", "--with-hq", "--workers", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{out}  6 pairs of 3 images  ")
    assert captured.err == ""
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [row["lq"] for row in rows][::2] == ["lq/a_0.png", "lq/b_0.png", "lq/sub/c_0.png"]
    for row in rows:
        assert read_image(out / row["lq"]).pixels.shape == (10, 12, 3)
        assert read_image(out / row["hq"]).pixels.shape == (40, 48, 3)


def test_what_is_asked_for_reaches_the_run(bundle, photos, tmp_path, settings):
    words = ["synthesize", bundle, str(photos), "-o", str(tmp_path / "1"), "--strength", "0.1:.2", "--scale", "2"]
    words += ["--count", "3", "--seed", str(2**64 - 1), "--degradation", "bsrgan", "--shards", "1M", "--with-hq"]
    words += ["--workers", "4", "--threads", "2", "--memory", "1G", "--channel-order", "bgr", "--resume"]
    assert run(words) == 0
    assert run(["synthesize", bundle, str(photos), "-o", str(tmp_path / "2")]) == 0
    one, named = settings[0]
    assert (one.strength, one.scale, one.count, one.seed) == ((0.1, 0.2), 2, 3, 2**64 - 1)
    assert (one.degradation, one.shard_bytes, one.with_hq, one.channel_order) == ("bsrgan", 10**6, True, "bgr")
    assert (one.threads, one.memory, named["workers"], named["resume"]) == (2, 10**9, 4, True)
    two, named = settings[1]
    assert (two.strength, two.scale, two.count, two.seed) == ((0.0, 0.25), 4, 1, 0)
    assert (two.degradation, two.shard_bytes, two.with_hq, two.channel_order) == ("mild", None, False, "rgb")
    assert (two.threads, two.memory, named["resume"]) == (1, 4 * 10**9, False)
    assert 1 <= named["workers"] <= 3
    assert (one.bundle, one.inputs) == (two.bundle, two.inputs)
    assert one.degradation_sha256 != two.degradation_sha256


def test_a_degradation_of_ones_own_is_a_setting_by_its_numbers(bundle, photos, tmp_path, settings):
    file = tmp_path / "own.toml"
    for index, text in enumerate(('base = "none"\n', '# a remark\nbase = "none"\n', 'base = "mild"\n')):
        file.write_text(text)
        words = ["synthesize", bundle, str(photos), "-o", str(tmp_path / str(index)), "--degradation", str(file)]
        assert run(words) == 0
    names, digests = zip(*((one.degradation, one.degradation_sha256) for one, _ in settings), strict=True)
    assert set(names) == {"own.toml"}
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
@pytest.mark.parametrize("layout", [[], ["--shards", "20480"]])
def test_a_killed_run_resumed_gives_the_bytes_of_one_that_was_not(bundle, photos, tmp_path, layout):
    words = ["synthesize", bundle, str(photos), "--count=6", "--seed=3", "--workers=1", "--with-hq", *layout, "-o"]
    killed, journal = tmp_path / "killed", tmp_path / "killed/.manifest.jsonl.part"
    with subprocess.Popen([sys.executable, "-m", "lqhq.tools.cli.main", *words, str(killed)]) as child:
        while child.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
            time.sleep(0.001)
        child.kill()
    there = {name: data for name, data in contents(killed).items() if not Path(name).name.startswith(".")}
    assert journal.exists(), "it was finished before it was killed"
    assert run([*words, str(killed), "--resume"]) == 0
    assert run([*words, str(tmp_path / "whole")]) == 0
    whole = contents(tmp_path / "whole")
    assert there.items() <= whole.items()
    assert contents(killed) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_workers_and_leaves_whole_files(bundle, photos, tmp_path, number):
    out = tmp_path / "out"
    words = ["synthesize", bundle, str(photos), "--count=500", "--workers=2", "-o", str(out)]
    command = [sys.executable, "-m", "lqhq.tools.cli.main", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as child:
        while child.poll() is None and not list(out.glob("lq/*.png")):
            time.sleep(0.01)
        os.killpg(child.pid, number)  # as a terminal does
        _, text = child.communicate(timeout=60)
    assert child.returncode == 130
    assert text == "lqhq: interrupted; nothing half-written was left\n"
    names = {path.name for path in out.iterdir()}
    assert names == {"lq", "settings.json", ".manifest.jsonl.part"}
    for path in out.rglob("*.png"):
        assert read_image(path).pixels.shape == (10, 12, 3)


def test_bad_images_are_reported_and_skipped(bundle, photos, tmp_path, capsys):
    (photos / "0\x1b[2J.png").write_bytes(b"planted fault")
    write_image(photos / "tiny.png", ImageFile(pixels=np.zeros((3, 9, 3), np.uint8)))
    words = ["synthesize", bundle, str(photos), str(photos / "gone.png"), "-o", str(tmp_path / "out"), "--workers=1"]
    assert run(words) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{tmp_path / 'out'}  3 pairs of 6 images  ")
    assert captured.err.count("failed: ") == 3
    assert "found 9 x 3 pixels" in captured.err
    assert "\x1b" not in captured.err
    assert captured.err.endswith("lqhq synthesize: 3 of 6 images failed\n")


def test_the_report_as_json(bundle, photos, tmp_path, capsys):
    (photos / "b.png").write_bytes(b"planted fault")
    words = ["synthesize", bundle, str(photos), "-o", str(tmp_path / "out"), "--json", "--count=2", "--workers=1"]
    assert run(words) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["made"], report["kept"]) == (4, 0)
    assert [(one["status"], one["made"]) for one in report["images"]] == [("done", 2), ("failed", 0), ("done", 2)]
    assert report["images"][1]["error"].startswith(str(photos / "b.png"))
    assert run([*words, "--resume"]) == 1
    assert json.loads(capsys.readouterr().out)["kept"] == 4


def test_results_are_not_mixed(bundle, photos, tmp_path, capsys):
    words = ["synthesize", bundle, str(photos), "-o", str(tmp_path / "out"), "--workers=1"]
    assert run(words) == 0
    whole = contents(tmp_path / "out")
    assert run(words) == 2
    assert "Continue it with --resume" in capsys.readouterr().err
    assert run([*words, "--resume", "--seed=1"]) == 2
    assert "found pairs made with seed 0; expected 1, as now" in capsys.readouterr().err
    assert run([*words, "--resume"]) == 0
    assert "0 pairs of 3 images, 3 were there" in capsys.readouterr().out
    assert contents(tmp_path / "out") == whole


def test_a_full_disk_ends_in_one_line(bundle, photos, tmp_path, capsys, monkeypatch):
    def refuse(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lqhq.runtime.synthesis.whole_file.write_all", refuse)
    assert run(["synthesize", bundle, str(photos), "-o", str(tmp_path / "out"), "--workers=1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lqhq synthesize: ")
    assert "No space left on device" in error
    assert len(error.splitlines()) == 1
    assert contents(tmp_path / "out") == {}


def test_a_preview_and_nothing_else(bundle, photos, tmp_path, capsys):
    (photos / "b.png").write_bytes(b"planted fault")
    words = ["synthesize", bundle, str(photos), "-o", str(tmp_path / "out")]
    assert run([*words, "--preview"]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("HQ, degraded, 1 of 20 steps, 3 of 20 steps, 5 of 20 steps\n")
    assert captured.err.startswith(f"failed: {photos / 'b.png'}: found")
    assert list(contents(tmp_path / "out")) == ["preview.png"]
    assert read_image(tmp_path / "out/preview.png").pixels.shape == (2 * 40 + 3 * 4, 5 * 48 + 6 * 4, 3)
    (photos / "b.png").unlink()
    assert run([*words, "--workers=1"]) == 0  # the sheet is not in the way


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strength", "0:0.3"], "MAX of 0.25 or less"),
        (["--degradation", "awful"], "mild, real-esrgan, bsrgan, none"),
        (["--degradation", "gone.toml"], "gone.toml"),
        (["--precision", "fp16"], "one of fp32"),
    ],
)
def test_what_does_not_fit_is_told_first(bundle, photos, tmp_path, capsys, words, message):
    assert run(["synthesize", bundle, str(photos), "-o", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bundles_that_restore_are_refused(tiny_bundle, photos, tmp_path, capsys):
    assert run(["synthesize", str(tiny_bundle()), str(photos), "-o", str(tmp_path / "out")]) == 2
    assert "expected a bundle for synthesis" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--count", "0"],
        ["--strength", "0.3:0.2"],
        ["--strength", "0.3"],
        ["--strength", "0:1.5"],
        ["--strength", "nan:1"],
        ["--scale", "17"],
        ["--seed", "-1"],
        ["--workers", "0"],
        ["--shards", "1K"],
        ["--shards", "lots"],
        ["--channel-order", "gbr"],
        ["-o", ""],
    ],
)
def test_what_no_image_could_make_right_is_a_usage_error(photos, tmp_path, words):
    with pytest.raises(SystemExit) as caught:
        run(["synthesize", "nothing", str(photos), "-o", str(tmp_path / "out"), *words])
    assert caught.value.code == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_line(monkeypatch):
    clock = iter([10.0, 12.0, 14.0])
    monkeypatch.setattr(synthesize.time, "monotonic", lambda: next(clock))
    stream = Terminal()
    line = synthesize._PairLine(stream)
    for done in (1, 2, 3):
        line.update("sub/a\x1b[2J_0", done, 13)
    assert stream.getvalue().split("\r")[-1].strip() == "[3/13] sub/a?[2J_0  0.50 pairs/s  0:20 left"
    line.clear()
    assert stream.getvalue().endswith("\r")
