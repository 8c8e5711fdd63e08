"""The bar is p99 alone, a batch and a little; a short run against a real server writes the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import serve_thumbnails
from serve_thumbnails import Found


def _found(beside: float) -> Found:
    slow = [beside] * 10
    return Found(alone=[0.01] * 100, beside=[0.02] * 90 + slow, scan_alone=10.0, scans=[11.0], batch_s=0.5, batches=20)


@pytest.mark.parametrize(("beside", "said"), [(0.529, ": met."), (0.531, ": NOT met.")])
def test_the_bar_is_p99_alone_and_a_batch_and_twenty_milliseconds(beside: float, said: str) -> None:
    words = serve_thumbnails.verdict(_found(beside))
    assert "= 530 ms" in words
    assert words.endswith(said)


def test_a_line_has_a_value_for_every_heading() -> None:
    line = serve_thumbnails.row("alone", [0.01] * 400)
    assert len(line) == len(serve_thumbnails.COLUMNS)
    assert line[:4] == ("alone", 400, "10.0", "10.0")
    assert line[4] == "10 [10, 10]"


@pytest.mark.slow
def test_a_short_run_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "thumbnails.md"
    sizes = serve_thumbnails.QUICK._replace(scan=320, rounds=1)
    monkeypatch.setattr(serve_thumbnails, "QUICK", sizes)
    monkeypatch.setattr(sys, "argv", ["serve_thumbnails.py", "--quick", "-o", str(page)])
    serve_thumbnails.main()
    text = page.read_text(encoding="utf-8")
    assert "beside the scan" in text
    assert "One batch of the scan takes" in text
