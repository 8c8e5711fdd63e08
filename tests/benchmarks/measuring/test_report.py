"""Pages say what they were measured on and carry no folder of the machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from measuring.report import Page, arguments


def test_a_page_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/benchmarks/x.py", "/secret/place/photos", "--quick"])
    page = Page("Title", weights="random (seed 1)", packages=("numpy",))
    page.text("Words.")
    page.table("Numbers", ("what", "s"), [("a", 1), ("b", 2)])
    target = tmp_path / "results" / "x.md"
    page.write(target)
    text = target.read_text()
    assert "`python benchmarks/x.py .../photos --quick`" in text
    assert "secret" not in text
    assert "random (seed 1)" in text
    assert "numpy " in text
    assert "## Numbers\n\n| what | s |\n|---|---|\n| a | 1 |\n| b | 2 |\n" in text
    assert [path.name for path in target.parent.iterdir()] == ["x.md"]
    assert capsys.readouterr().out.startswith("# Title")


def test_a_bundle_path_holds_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parser = arguments("about", "x")
    assert parser.parse_args(["--bundle", "mine"]).bundle == str(tmp_path / "mine")
    assert parser.parse_args([]).bundle == "demo"
    assert parser.parse_args([]).output.parts[-3:] == ("benchmarks", "results", "x.md")
