"""Verdicts follow the bars; a short run against a real server and no peers writes the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import serve_load
from serving.bench import BARE, LQHQ
from serving.load import Sample


def _samples(latency: float, seconds: float) -> list[Sample]:
    return [Sample(latencies=[latency] * 4, seconds=seconds) for _ in range(3)]


def test_the_added_latency_has_a_bar_for_its_upper_end() -> None:
    bare, slower = _samples(0.100, 1), _samples(0.1049, 1)
    assert "4.90 [4.90, 4.90] ms" in serve_load.added_verdict({LQHQ: slower, BARE: bare})
    assert serve_load.added_verdict({LQHQ: slower, BARE: bare}).endswith(": met.")
    late = [*slower[:2], *_samples(0.1051, 1)[:1]]
    assert serve_load.added_verdict({LQHQ: late, BARE: bare}).endswith(": not met.")


@pytest.mark.parametrize(("peer", "said"), [(0.004, ": met."), (0.002, ": not met.")])
def test_latency_is_compared_with_every_peer(peer: float, said: str) -> None:
    found = {BARE: _samples(0.001, 1), LQHQ: _samples(0.003, 1), "A": _samples(peer, 1), "B": _samples(0.009, 1)}
    first, second = serve_load.latency_verdict(found)
    assert first.endswith(said)
    assert "less A's is" in first
    assert second.endswith(": met.")


def test_throughput_has_a_bar_of_its_own_for_the_bare_loop() -> None:
    found = {BARE: _samples(0.1, 9.6), LQHQ: _samples(0.1, 10.0), "A": _samples(0.1, 9.6)}
    bare, peer = serve_load.saturated_verdict(found)
    assert bare.endswith("of 0.95 or more: met.")
    assert peer.endswith("of 0.97 or more: not met.")


@pytest.mark.slow
def test_a_short_run_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "serve.md"
    monkeypatch.setattr(sys, "argv", ["serve_load.py", "--quick", "--no-peers", "-o", str(page)])
    serve_load.main()
    text = page.read_text(encoding="utf-8")
    for heading in (
        "Identity, 24x24, one client",
        "Demo, 24x24, 2 clients, saturated",
        "Poisson arrivals",
        "PNG files",
    ):
        assert heading in text
    assert "lqhq adds" in text
