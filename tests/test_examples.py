"""Every example runs, in a child process, as its first lines say."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import pyvips

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SCALE = 4

# script -> what its output must hold, for those that need no arguments
WITHOUT_ARGUMENTS = {
    "inspect_bundle.py": (
        "super-resolution, x4",
        "graph denoise.fp32",
        "schedule fast (default)",
        "licence of",
    ),
    "restore_array.py": ("(72, 96, 3) uint8 -> (288, 384, 3) uint8", "same seed, same bytes: True", "fast"),
}
WITH_ARGUMENTS = {"before_after.py"}
# script -> the same, for those that speak to a server
WITH_A_SERVER = {
    "serve_restore.py": (
        "is ready",
        "model demo 1: super-resolution, x4",
        " of 4 network calls",
        "1804x1200, ",
        "at once: [(96, 128, 1), (96, 128, 1), (96, 128, 1), (96, 128, 1)]",
        "expected one of fast",
    ),
    "serve_tritonclient.py": (
        "model: demo is ready",
        "array (24, 32, 3) uint8 -> (96, 128, 3) uint8",
        "-> PNG of ",
        " of 4 network calls",
        "streamed: ",
        "StatusCode.INVALID_ARGUMENT tile: found 3; expected at least 8",
    ),
}


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def images(folder: Path) -> tuple[Path, Path]:
    """A small image of a square, and the same x4 by nearest neighbour: hard edges, unlike bicubic ones."""
    lq, hq = folder / "lq.png", folder / "hq.png"
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[15:25, 25:35] = (200, 100, 50)
    pyvips.Image.new_from_array(pixels).write_to_file(str(lq))
    pyvips.Image.new_from_array(pixels.repeat(SCALE, 0).repeat(SCALE, 1)).write_to_file(str(hq))
    return lq, hq


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of `lqhq serve demo`, on any free port."""
    words = ("serve", "demo", "--port", "0", "--metrics-port", "off")
    command = [sys.executable, "-m", "lqhq.tools.cli.main", *words]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()  # the first it prints; empty where it did not start
        address = re.search(r"listening on (\S+)", line)
        assert address is not None, line
        yield address[1]
    finally:
        child.terminate()
        child.communicate(timeout=60)
    assert child.returncode == 0


def test_no_example_is_left_out() -> None:
    assert {file.name for file in EXAMPLES.glob("*.py")} == WITH_ARGUMENTS | set(WITHOUT_ARGUMENTS) | set(WITH_A_SERVER)


@pytest.mark.parametrize("script", WITHOUT_ARGUMENTS)
def test_runs_without_arguments(script: str) -> None:
    ran = run(script)
    assert ran.returncode == 0, ran.stderr
    for expected in WITHOUT_ARGUMENTS[script]:
        assert expected in ran.stdout


@pytest.mark.parametrize("script", WITH_A_SERVER)
def test_runs_with_a_server(script: str, server: str) -> None:
    ran = run(script, server)
    assert ran.returncode == 0, ran.stderr
    for expected in WITH_A_SERVER[script]:
        assert expected in ran.stdout


@pytest.mark.parametrize("script", WITH_A_SERVER)
def test_planted_no_server_is_seen(script: str) -> None:
    assert run(script, "127.0.0.1:1").returncode != 0


def test_before_after_shows_bicubic_left_and_hq_right(tmp_path: Path) -> None:
    lq, hq = images(tmp_path)
    target = tmp_path / "picture.png"
    ran = run("before_after.py", lq, hq, target)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(target)]
    picture = pyvips.Image.new_from_file(str(target)).numpy()
    assert picture.shape[1:] == (1280, 3)
    details = picture[-600:, :, 0]
    assert len(np.unique(details[:, :600])) > 2  # bicubic: soft edges
    assert set(np.unique(details[:, 680:])) == {0, 200}


def test_before_after_takes_the_detail_that_is_asked_for(tmp_path: Path) -> None:
    lq, hq = images(tmp_path)
    target = tmp_path / "picture.png"
    assert run("before_after.py", lq, hq, target, "--detail", "0,0").returncode == 0
    details = pyvips.Image.new_from_file(str(target)).numpy()[-600:, :, 0]
    assert not details[:300, 700:900].any()  # the image's own corner, which is black
    assert "expected TOP,LEFT" in run("before_after.py", lq, hq, target, "--detail", "left").stderr


def test_before_after_refuses_images_that_do_not_match(tmp_path: Path) -> None:
    lq, hq = images(tmp_path)
    ran = run("before_after.py", hq, lq, tmp_path / "picture.png")
    assert ran.returncode == 1
    assert "expected a multiple of 160 x 240" in ran.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hq.png", "lq.png"]


def test_planted_failure_is_seen(tmp_path: Path) -> None:
    assert run("inspect_bundle.py", tmp_path).returncode != 0
