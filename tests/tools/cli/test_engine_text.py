"""Engines as text, for the list and for `lqhq inspect`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engine_cache.key import Gpu, Here, key_of
from lqhq.runtime.engine_cache.listing import ListedEngine, list_engines
from lqhq.runtime.engine_cache.store import obtain
from lqhq.runtime.engine_spec import EngineSpec, Profile, Range
from lqhq.runtime.precision import Plan
from lqhq.tools.cli.engine_text import age_text, engine_lines, engine_record, engine_table, layer_text

HERE = Here(versions={"tensorrt-rtx": "1.7.1.116", "tensorrt": "11.4.0.106"}, gpu=Gpu(name="NVIDIA L4", sm="sm89"))
PLAN = Plan(weights={}, layers={"convolution": {"float16": 9, "float32": 0}, "matmul": {"float32": 2}})
PROFILE = Profile(batch=Range(1, 1, 4), height=Range(64, 64, 64), width=Range(64, 64, 64))


def made(folder: Path, flavour: str = "tensorrt-rtx", targets: tuple[str, ...] = ("sm86", "sm89")) -> ListedEngine:
    spec = EngineSpec(flavour=flavour, targets=targets, profiles=(PROFILE,))
    key = key_of(open_bundle("demo").graph("denoise", "fp32"), spec, HERE)
    built = SimpleNamespace(
        data=memoryview(b"12345"),
        flavour=flavour,
        version=key.version,
        parsed=PLAN,
        state="partly",
        notes=(),
        seconds=1.0,
    )
    obtain(key, lambda: built, folder=folder, say=lambda _: None, verified=None)
    return next(one for one in list_engines(folder, HERE, verified=None) if one.record and one.record.key == key)


def test_a_row_for_each(tmp_path: Path) -> None:
    listed = [made(tmp_path), made(tmp_path, "tensorrt", ())]
    assert listed[0].record is not None
    lines = engine_table(listed, listed[0].record.built + timedelta(hours=5), gpu=True)
    assert lines[0].split() == [
        "bundle",
        "role",
        "precision",
        "engine",
        "for",
        "profiles",
        "size",
        "age",
        "types",
        "here",
    ]
    first = "demo    denoise  fp32       tensorrt-rtx 1.7.1.116  sm86, sm89        64x64@1-4  5 bytes"
    assert lines[1].strip().startswith(first)
    assert lines[1].endswith("5 h  partly  usable")
    assert "tensorrt 11.4.0.106     NVIDIA L4 (sm89)" in lines[2]


def test_what_cannot_be_read_has_its_reason() -> None:
    slot = "demo.denoise.fp32.tensorrt.0123456789abcdef"
    bad = ListedEngine(slot=slot, bundle="demo", record=None, bytes=5, fault="damaged\x1b[2J")
    line = engine_table([bad], datetime.now(UTC), gpu=False)[1]
    assert slot in line
    assert line.endswith("damaged?[2J")
    assert engine_record(bad)["usable"] is False


def test_the_json_holds_everything(tmp_path: Path) -> None:
    one = made(tmp_path)
    told = engine_record(one)
    assert (told["usable"], told["bytes"], told["slot"]) == (True, 5, one.slot)
    assert msgspec.json.decode(msgspec.json.encode(told))["record"]["parsed"]["layers"]["matmul"] == {"float32": 2}


def test_the_lines_of_a_bundle(tmp_path: Path, tiny_bundle) -> None:
    bundle = open_bundle("demo")
    assert engine_lines(bundle, tmp_path, HERE) == ["  none built here; `lqhq engines build` builds them"]
    made(tmp_path)
    assert len(engine_lines(bundle, tmp_path, HERE)) == 2
    assert len(engine_lines(open_bundle(tiny_bundle()), tmp_path, HERE)) == 1  # another bundle's


def test_a_bundle_is_shown_though_the_cache_cannot_be_read(tmp_path: Path) -> None:
    made(tmp_path)
    assert len(engine_lines(open_bundle("demo"), tmp_path)) == 2  # this machine is asked
    (tmp_path / "file").write_text("")
    (line,) = engine_lines(open_bundle("demo"), tmp_path / "file")
    assert "Not a directory" in line


def test_planted_fault_a_stale_engine_does_not_read_usable(tmp_path: Path) -> None:
    made(tmp_path)
    stale = Here(versions={"tensorrt-rtx": "1.8"})
    assert engine_lines(open_bundle("demo"), tmp_path, stale)[1].endswith(
        "built by tensorrt-rtx 1.7.1.116, this is 1.8"
    )


def test_layers_and_ages() -> None:
    assert layer_text(PLAN) == "9 convolution float16, 2 matmul float32"
    assert layer_text(Plan(weights={}, layers={})) == "no layers that multiply matrices"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (7300, "2 h"), (200_000, "2 d")]
)
def test_age(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
