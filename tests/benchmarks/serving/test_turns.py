"""Contenders take turns in both directions, and are compared within a round."""

from __future__ import annotations

import pytest
from serving import turns
from serving.load import Sample
from serving.turns import added_ms, latency_columns, pooled, take_turns, throughput_ratio


def _samples(*rounds: list[float]) -> list[Sample]:
    return [Sample(latencies=latencies, seconds=sum(latencies)) for latencies in rounds]


def test_every_second_round_goes_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SETTLE", 0.0)
    seen: list[str] = []

    def turn(name: str) -> int:
        seen.append(name)
        return len(seen)

    found = take_turns({name: lambda name=name: turn(name) for name in "zab"}, 3)
    assert "".join(seen) == "zabbazzab"
    assert found == {"z": [1, 6, 7], "a": [2, 5, 8], "b": [3, 4, 9]}


def test_a_round_that_was_slow_for_both_changes_nothing() -> None:
    """The second round took ten times as long: ratios and differences are still those of each round."""
    ours, theirs = _samples([0.02, 0.02], [0.2, 0.2]), _samples([0.01, 0.01], [0.1, 0.1])
    assert throughput_ratio(ours, theirs).median == pytest.approx(0.5)
    assert added_ms(ours, theirs).median == pytest.approx((10 + 100) / 2)
    assert added_ms(theirs, ours).high < 0


def test_columns_are_of_all_rounds() -> None:
    samples = _samples([0.001] * 97, [0.002, 0.003, 0.004])
    assert len(pooled(samples)) == 100
    assert latency_columns(samples) == ("1.0", "1.0", "3.0")
