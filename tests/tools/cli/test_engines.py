"""`lqhq engines` as it is called: the demo bundle's engine is really built, for a GPU that is not here."""

from __future__ import annotations

import json
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from lqhq.runtime.engine_cache import engine_for as engine_for_module
from lqhq.runtime.errors import CancelledError
from lqhq.runtime.nvidia import Nvidia
from lqhq.runtime.precision import Plan
from lqhq.tools.cli.main import run

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
PROFILE = ("--profile", "64x64@1")


def build(cache: Path, *more: str, bundle: str = "demo") -> int:
    return run(
        [
            "engines",
            "build",
            bundle,
            "--engine",
            "tensorrt-rtx",
            "--target",
            "sm89",
            *PROFILE,
            "--cache",
            str(cache),
            *more,
        ]
    )


@needs_rtx
def test_build_list_ready_truncated_clean(tmp_path, capfd):
    """The whole life of a real engine."""
    assert build(tmp_path) == 0
    first = capfd.readouterr().out
    assert "demo denoise fp32 for tensorrt-rtx: not built yet; building\n" in first
    assert "demo denoise fp32: built in " in first
    assert " convolution float32" in first
    (engine,) = tmp_path.glob("*.engine")
    assert f"  {engine}\n" in first
    assert build(tmp_path) == 0
    second = capfd.readouterr().out
    assert second.startswith("demo denoise fp32: ready (its build took ")
    assert run(["engines", "list", "--cache", str(tmp_path)]) == 0
    listed = capfd.readouterr().out.splitlines()
    assert len(listed) == 2
    assert "64x64@1" in listed[1]
    assert listed[1].endswith("whole; no GPU here")
    size = engine.stat().st_size
    engine.write_bytes(engine.read_bytes()[:1000])
    assert run(["engines", "list", "--json", "--cache", str(tmp_path)]) == 0
    (told,) = json.loads(capfd.readouterr().out)
    assert (told["usable"], told["fault"]) == (False, f"engine file has 1000 bytes, its record says {size}: truncated")
    assert build(tmp_path) == 0
    assert "1000 bytes" in capfd.readouterr().out
    assert build(tmp_path) == 0
    assert "ready" in capfd.readouterr().out


@pytest.fixture
def fake(monkeypatch):
    """A builder that needs no TensorRT; `does` replaces what it does."""
    calls = SimpleNamespace(roles=[], profiles=[], does=lambda cancel: None)

    def build_engine(graph, spec, *, progress, cancel, timing_cache):
        calls.does(cancel)
        calls.roles.append(graph.role)
        calls.profiles.append(spec.profiles)
        plan = Plan(weights={}, layers={"matmul": {"float32": 1}})
        return SimpleNamespace(
            data=memoryview(graph.role.encode()),
            flavour=spec.flavour,
            version="1.7.1.116",
            parsed=plan,
            state="partly",
            notes=("a note\x1b[2J",),
            seconds=1.5,
            timing_cache=None,
        )

    monkeypatch.setattr(engine_for_module, "build_engine", build_engine)
    loaded = SimpleNamespace(version="1.7.1.116")
    monkeypatch.setattr("lqhq.runtime.engine_cache.this_machine.load_flavour", lambda _: loaded)
    return calls


def test_every_role_is_built(tmp_path, guided_bundle, fake, capsys):
    """A graph of vectors takes the batch of a profile alone."""
    bundle = str(guided_bundle())
    assert build(tmp_path / "c", "--profile", "128x128@1-2", bundle=bundle) == 0
    assert sorted(fake.roles) == ["decode", "encode", "reduce"]
    vectors = fake.profiles[fake.roles.index("encode")]
    assert [(profile.batch.most, profile.height.most) for profile in vectors] == [(1, 1), (2, 1)]
    out = capsys.readouterr().out
    assert out.count("built in 1.5 s") == 3
    assert "  a note?[2J\n" in out
    assert build(tmp_path / "c", "--role", "decode", bundle=bundle) == 0
    assert len(fake.roles) == 4
    assert build(tmp_path / "c", "--role", "decode", bundle=bundle) == 0
    assert len(fake.roles) == 4


def test_default_profiles(tmp_path, fake):
    argv = ["engines", "build", "demo", "--engine", "tensorrt-rtx", "--target", "sm86, sm89", "--cache", str(tmp_path)]
    assert run(argv) == 0
    assert run(argv) == 0
    assert len(fake.profiles) == 1
    assert len(fake.profiles[0]) == 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--precision", "bf16"], "expected one of fp16, fp32"),
        (["--role", "decode"], "expected one of denoise"),
        (["--target", "ada"], "found 'ada'"),
        (["--target", ",".join(f"sm{n}" for n in range(100, 120))], "at most 16"),
        (["--target", ""], "no GPU and no targets"),
        (["--profile", "x"], "found 'x'"),
        (["--profile", "3x3"], "found"),
        (["--profile", "64x64@2"] * 16, "at most 16"),
        (["--cache", "FILE"], "expected a folder"),
    ],
)
def test_wrong_requests_exit_with_2(tmp_path, fake, more, words, capsys, monkeypatch):
    monkeypatch.setattr("lqhq.runtime.engine_cache.this_machine.find_nvidia", Nvidia)
    (tmp_path / "file").write_text("")
    more = [str(tmp_path / "file" / "c") if word == "FILE" else word for word in more]
    assert build(tmp_path / "c", *more) == 2
    assert words in capsys.readouterr().err
    assert fake.roles == []


def test_a_full_disk_is_told(tmp_path, fake, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lqhq.runtime.engine_cache.store.write_whole", full)
    assert build(tmp_path) == 2
    captured = capsys.readouterr()
    assert "No space left on device" in captured.out
    assert "could not be kept" in captured.err


def test_ctrl_c_leaves_nothing(tmp_path, fake, capsys):
    def interrupted(cancel):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        for _ in range(500):  # 5 s
            if cancel():
                raise CancelledError("build", found="a stop", expected="to go on", mend="")
            time.sleep(0.01)

    fake.does = interrupted
    assert build(tmp_path) == 130
    assert "nothing half-written was left" in capsys.readouterr().err
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    fake.does = lambda cancel: None
    assert build(tmp_path) == 0


def test_clean_and_an_empty_list(tmp_path, fake, capsys):
    cache = ["--cache", str(tmp_path)]
    assert run(["engines", "list", *cache]) == 0
    assert "no engines in" in capsys.readouterr().out
    assert build(tmp_path) == 0
    engine = next(tmp_path.glob("*.engine"))
    capsys.readouterr()
    assert run(["engines", "clean", *cache]) == 0
    assert capsys.readouterr().out == "0 files removed, 0 bytes\n"
    assert run(["engines", "clean", "other", "--all", *cache]) == 0
    assert engine.exists()
    engine.write_bytes(b"x")
    assert run(["engines", "clean", "demo", *cache]) == 0
    out = capsys.readouterr().out
    assert f"removed  {engine.name}" in out
    assert "truncated" in out
    assert list(tmp_path.iterdir()) == []
    assert build(tmp_path) == 0
    assert run(["engines", "clean", "--all", *cache]) == 0
    assert "2 files removed" in capsys.readouterr().out


def test_planted_fault_an_engine_of_a_newer_version_is_not_ready(tmp_path, fake, capsys, monkeypatch):
    assert build(tmp_path) == 0
    monkeypatch.setattr(
        "lqhq.runtime.engine_cache.this_machine.load_flavour", lambda _: SimpleNamespace(version="1.8.0")
    )
    assert run(["engines", "list", "--cache", str(tmp_path)]) == 0
    assert "built by tensorrt-rtx 1.7.1.116, this is 1.8.0" in capsys.readouterr().out
