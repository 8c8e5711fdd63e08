"""The bounded form of the fault run: a real server among some hundred hostile requests; and what its page says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import serve_faults
from contenders.identity_bundle import write_identity
from hostile.drain import Ended
from hostile.storm import GOOD, Tally
from serve_faults import Findings

REQUESTS = 400
ROOM = 1.3  # of memory: so few requests do not fill every thread's caches before


@pytest.mark.slow
def test_a_server_lives_forgets_and_answers_right(tmp_path: Path) -> None:
    bundle = str(write_identity(tmp_path / "identity"))
    with serve_faults.serving(bundle, tmp_path) as (target, process):
        found = serve_faults.attacked(target, process, REQUESTS, serve_faults.SEED, kill_s=0.5)
    assert found.faults == []
    assert found.tally.requests == REQUESTS
    assert found.killed > 0
    assert found.tally.answered > REQUESTS // 10
    assert found.grown < ROOM
    assert found.ended.calls["answered"] > 0


def _findings(*, after: int = 105, faults: tuple[str, ...] = (), ended: tuple[str, ...] = ()) -> Findings:
    tally = Tally(outcomes=Counter({(GOOD, "OK"): 7, ("late", "OK"): 1, ("late", "UNAVAILABLE"): 2}), refused=3)
    tally.faults += faults
    return Findings(tally, 2, 100 << 20, after << 20, Ended(Counter(answered=5, refused=4), list(ended)), 9.0)


def test_the_verdict_says_what_was_found() -> None:
    words = serve_faults.verdict(_findings())
    assert "10 requests in 9 s, workers killed 2 times. Good requests: 7" in words
    assert "(1.05 times)" in words
    assert words.endswith("Faults: 0. Met.")


@pytest.mark.parametrize(
    "found", [_findings(after=111), _findings(faults=("a wrong answer",)), _findings(ended=("exit code 1",))]
)
def test_more_memory_or_any_fault_is_not_met(found: Findings) -> None:
    assert not found.met
    assert serve_faults.verdict(found).endswith("NOT met.")


def test_every_kind_has_a_line() -> None:
    lines = {line[0]: line for line in serve_faults.rows(_findings().tally)}
    assert lines["late"] == ("late", 3, "OK 1, UNAVAILABLE 2")
    assert lines[GOOD] == (GOOD, 7, "OK 7")
    assert lines["cancelled"] == ("cancelled", 0, "-")
    assert len(lines) == len(serve_faults.ATTACKS) + 1
