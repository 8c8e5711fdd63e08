"""`lqhq client`, through its entry point, against a fake server on a real socket."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.tools.cli.main import run

Code = grpc.StatusCode


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"first")
    (folder / "sub" / "b.jpg").write_bytes(b"second" * 20_000)
    return folder


@pytest.fixture
def restore(address: str, tmp_path: Path) -> Any:
    """`restore(input, "out", flags...)` runs the command; results go below `tmp_path`."""

    def command(source: Path, output: str, *flags: str) -> int:
        return run(["client", "restore", str(source), "-o", str(tmp_path / output), "--address", address, *flags])

    return command


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_file(restore: Any, photos: Path, tmp_path: Path, capsys: Any, fake: Any) -> None:
    flags = ["--seed", "5", "--tile", "64", "--quality", "80", "--bit-depth", "16", "--priority", "2"]
    assert restore(photos / "a.png", "big.tif", "--model", "fake:3", *flags) == 0
    assert (tmp_path / "big.tif").read_bytes() == b"tsrif"
    ask = fake.requests[0].ask
    assert (ask.options.seed, ask.options.tile, ask.priority) == (5, 64, 2)
    assert ask.output == pb.Output(format=pb.IMAGE_FORMAT_TIFF, quality=80, bit_depth=16)
    assert ask.model == pb.ModelRef(name="fake", version=3)
    told = capsys.readouterr()
    assert "big.tif" in told.out
    assert "fake" in told.err


def test_a_folder_keeps_depth_and_names_and_reports_json(
    restore: Any, photos: Path, tmp_path: Path, capsys: Any
) -> None:
    assert restore(photos, "out", "--json", "--jobs", "2") == 0
    assert files_below(tmp_path / "out") == {"a.png": b"tsrif", "sub/b.jpg": (b"second" * 20_000)[::-1]}
    files = json.loads(capsys.readouterr().out)["files"]
    assert [(one["status"], one["error"], one["outcome"]["seed"]) for one in files] == [("done", None, 7)] * 2


def test_one_bad_file_does_not_stop_the_rest(
    restore: Any, photos: Path, tmp_path: Path, capsys: Any, fake: Any
) -> None:
    fake.acts.append(lambda context: None)  # the model is asked for first
    fake.refuse(Code.INVALID_ARGUMENT, "image: found a torn file; expected a whole one. Copy it again.")
    assert restore(photos, "out", "--jobs", "1") == 1
    assert list(files_below(tmp_path / "out")) == ["sub/b.jpg"]
    assert "found a torn file" in capsys.readouterr().err


def test_resume_skips_what_is_there(restore: Any, photos: Path, tmp_path: Path, capsys: Any, fake: Any) -> None:
    assert restore(photos / "a.png", "out/") == 0
    assert restore(photos, "out/", "--resume") == 0
    assert len(fake.requests) + len(fake.uploads) == 2
    assert "skipped" in capsys.readouterr().out


def test_what_upscale_refuses_is_refused_here(
    restore: Any, photos: Path, tmp_path: Path, capsys: Any, fake: Any
) -> None:
    assert restore(photos, "photos/") == 2  # would replace its inputs
    assert restore(tmp_path / "none*", "out") == 2
    assert restore(photos / "a.png", "out.gif") == 2
    assert "an input itself" in capsys.readouterr().err
    assert fake.calls == 0


def test_what_the_model_does_not_take_is_told_before_anything_is_sent(
    restore: Any, photos: Path, capsys: Any, fake: Any
) -> None:
    assert restore(photos, "out", "--prompt", "a house") == 2
    assert "--prompt: found 'a house'; expected an option that 'fake' takes: seed, tile" in capsys.readouterr().err
    assert restore(photos, "out", "--mask", str(photos / "a.png")) == 2
    fake.needs_mask = True
    assert restore(photos, "out") == 2
    assert restore(photos, "out", "--model", "other") == 2
    assert "expected 'fake'" in capsys.readouterr().err
    assert not fake.requests + fake.uploads


def test_masks_travel(restore: Any, photos: Path, tmp_path: Path, fake: Any) -> None:
    fake.needs_mask = True
    (tmp_path / "mask.png").write_bytes(b"mask")
    assert restore(photos / "a.png", "out.png", "--mask", str(tmp_path / "mask.png")) == 0
    assert fake.requests[0].mask == b"mask"


def test_nobody_there_is_told_at_once(photos: Path, tmp_path: Path, capsys: Any) -> None:
    start = time.monotonic()
    for words in (["restore", str(photos), "-o", str(tmp_path / "out")], ["models"], ["status"]):
        assert run(["client", *words, "--address", "127.0.0.1:1"]) == 2
    assert capsys.readouterr().err.count("127.0.0.1:1: found UNAVAILABLE") == 3
    assert time.monotonic() - start < 2
    assert not (tmp_path / "out").exists()


def test_a_server_that_is_lost_is_not_asked_for_every_file(
    restore: Any, tmp_path: Path, capsys: Any, fake: Any
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.png").write_bytes(b"x")
    fake.acts.append(lambda context: None)
    fake.refuse(Code.UNAUTHENTICATED, "token: found an old one; expected a new one. Ask.", times=20)
    assert restore(folder, "out", "--jobs", "2") == 1
    assert 2 <= fake.calls <= 3
    assert capsys.readouterr().err.count("not sent: token") == 18


def test_busy_servers_are_waited_for(restore: Any, photos: Path, tmp_path: Path, fake: Any) -> None:
    fake.acts.append(lambda context: None)
    fake.refuse(Code.RESOURCE_EXHAUSTED, "queue: found 9; expected 8. Later.", ("retry-after-ms", "10"), times=6)
    assert restore(photos, "out") == 0
    assert len(files_below(tmp_path / "out")) == 2


def test_models_and_status(address: str, capsys: Any) -> None:
    assert run(["client", "models", "--address", address]) == 0
    assert "torn  1  failed  a digest differs" in capsys.readouterr().out
    assert run(["client", "models", "fake", "--address", address, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["options"] == ["seed", "tile"]
    assert run(["client", "status", "--address", address]) == 1  # the fake is never ready
    assert f"lqhq 1.2.3 at {address}: NOT READY" in capsys.readouterr().out
    assert run(["client", "status", "--address", address, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ready"] is False


def test_the_token_comes_from_a_file(address: str, tmp_path: Path, fake: Any) -> None:
    (tmp_path / "tokens").write_text("# ours\n\nme:correct-horse-battery\n")
    assert run(["client", "models", "--address", address, "--token-file", str(tmp_path / "tokens")]) == 0
    assert fake.metadata[-1]["authorization"] == "Bearer correct-horse-battery"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_what_runs_and_leaves_nothing(
    address: str, photos: Path, tmp_path: Path, fake: Any, number: int
) -> None:
    fake.acts.append(lambda context: None)
    fake.hold()
    words = ["client", "restore", str(photos), "-o", str(tmp_path / "out"), "--address", address, "--jobs", "1"]
    command = [sys.executable, "-m", "lqhq.tools.cli.main", *words]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert fake.reached.wait(20)
    child.send_signal(number)
    _, errors = child.communicate(timeout=10)
    assert child.returncode == 130
    assert errors == "lqhq: interrupted; nothing half-written was left\n"
    assert fake.left.wait(10)
    assert files_below(tmp_path / "out") == {}


def test_planted_a_half_written_result_would_be_seen(
    restore: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lqhq.server.client.result.write_whole", lambda path, data: path.write_bytes(data[:2]))
    assert restore(photos / "a.png", "out.png") == 0
    assert (tmp_path / "out.png").read_bytes() != b"tsrif"
