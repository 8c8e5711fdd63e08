"""`lqhq inspect` as it is called."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lqhq.runtime.bundle import read_manifest
from lqhq.runtime.errors import BundleError, OptionError
from lqhq.runtime.manifest import manifest_from_json
from lqhq.tools.cli import inspect
from lqhq.tools.cli.inspect_page import page
from lqhq.tools.cli.schedule_page import schedule_table

Build = Callable[..., Path]


def run(*argv: str | Path) -> int:
    parser = argparse.ArgumentParser()
    inspect.configure(parser)
    return inspect.main(parser.parse_args([str(word) for word in argv]))


def test_the_page_and_a_schedule(tiny_bundle: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_bundle()
    manifest = read_manifest(folder)
    assert run(folder, "--cache", tmp_path / "none") == 0
    assert capsys.readouterr().out == page(manifest, ["  none built here; `lqhq engines build` builds them"])
    assert run(folder, "--schedule", "noisy") == 0
    assert capsys.readouterr().out == schedule_table("noisy", manifest.schedules["noisy"])


def test_json_is_the_manifest_with_what_follows(tiny_bundle: Build, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_bundle(external=True)
    manifest = read_manifest(folder)
    assert run(folder, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert manifest_from_json(json.dumps(record["manifest"]).encode()) == manifest
    total = sum(path.stat().st_size for path in (folder / "graphs").iterdir())
    assert record["total_bytes"] == total == record["graph_bytes"]["denoise"]["fp32"]
    assert record["parity_passed"] is True
    assert run(folder, "--json", "--schedule", "fast") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "fast"


def test_wrong_requests_are_refused(tiny_bundle: Build, tmp_path: Path) -> None:
    folder = tiny_bundle()
    with pytest.raises(OptionError, match="one of fast, three, noisy"):
        run(folder, "--schedule", "none")
    (folder / "graphs/denoise.fp32.onnx").write_bytes(b"")
    for source in (folder, tmp_path / "none"):
        with pytest.raises(BundleError):
            run(source)


def test_planted_fault_an_unpassed_comparison_shows_in_json(
    tiny_bundle: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny_bundle(parity=()), "--json")
    assert json.loads(capsys.readouterr().out)["parity_passed"] is False
