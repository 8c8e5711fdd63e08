"""`lqhq doctor` as it is called."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lqhq.runtime import bundle
from lqhq.tools.cli import doctor
from lqhq.tools.cli.machine_checks import Check


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.configure(parser)
    return doctor.main(parser.parse_args(argv))


def test_a_working_machine(
    tiny_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(bundle.SHIPPED, "demo", tiny_bundle(scale=4))
    assert run() == 0
    text = capsys.readouterr().out
    assert text.endswith("Upscaling works here.\n")
    assert run("--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["works"] is True
    assert all(one["name"] in text for one in record["checks"])


def test_planted_fault_a_missing_demo_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(bundle.SHIPPED, "demo", tmp_path)
    assert run() == 1
    assert "Upscaling does not work here: demo bundle." in capsys.readouterr().out
    assert run("--json") == 1
    assert json.loads(capsys.readouterr().out)["works"] is False


def test_the_report_lists_what_to_do_apart() -> None:
    checks = [
        Check("python", "ok", "3.12.1"),
        Check("extra export", "missing", "torch is missing", "pip install '.[export]'"),
    ]
    assert doctor.report(checks).splitlines()[1:] == [
        "",
        "  ok       python        3.12.1",
        "  missing  extra export  torch is missing",
        "",
        "To mend",
        "  extra export  pip install '.[export]'",
        "",
        "Upscaling works here.",
    ]


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import argparse, sys; from lqhq.tools.cli import doctor; p = argparse.ArgumentParser();"
        "doctor.configure(p); doctor.main(p.parse_args([]));"
        "print(sorted({'torch', 'diffusers', 'onnx', 'onnxscript'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
