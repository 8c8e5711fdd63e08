"""A storm counts what came of everything, and stops where a server is hopeless."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import numpy as np
import pytest
from hostile import storm as module
from hostile.storm import ATTACKS, GOOD, MOST_FAULTS, Tally, storm
from hostile.verdict import FaultError, judged

SEED = 20_261_206


class _Refusal(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(code)
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "no"


def test_shares_leave_room_for_good_requests() -> None:
    assert sum(ATTACKS.values()) < 100
    assert all(share > 0 for share in ATTACKS.values())
    assert len({attack.__name__ for attack in ATTACKS}) == len(ATTACKS)


def _stormed(monkeypatch: pytest.MonkeyPatch, attack: Any, share: int = 60, count: int = 100) -> Tally:
    monkeypatch.setattr(module, "ATTACKS", {attack: share})
    monkeypatch.setattr(module, "_good", lambda target, draw: ("OK", 1))
    tally: Any = Tally()
    storm(None, count, SEED, 4, tally)  # type: ignore[arg-type]
    return tally


def test_every_request_is_counted_and_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, lock = list[float](), threading.Lock()

    def attack(target: object, draw: np.random.Generator) -> str:
        with lock:
            seen.append(float(draw.random()))
        return "REFUSED"

    first = _stormed(monkeypatch, attack)
    drawn = sorted(seen)
    seen.clear()
    second = _stormed(monkeypatch, attack)
    assert first.outcomes == second.outcomes
    assert sorted(seen) == drawn
    assert first.requests == 100
    assert first.refused == first.answered == first.outcomes[GOOD, "OK"] > 20
    assert first.outcomes["attack", "REFUSED"] == 100 - first.answered
    assert not first.faults


@pytest.mark.parametrize(
    "error", [FaultError("wrong pixels"), ConnectionError("gone"), _Refusal(grpc.StatusCode.UNKNOWN)]
)
def test_faults_are_kept_and_many_of_them_end_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The planted faults: a server that answers wrong, is gone, or says nothing useful."""

    def attack(target: object, draw: np.random.Generator) -> str:
        raise error

    tally = _stormed(monkeypatch, attack, share=99, count=200)
    assert MOST_FAULTS <= len(tally.faults) < MOST_FAULTS + 4
    assert "attack: " + type(error).__name__ in tally.faults[0]
    assert tally.requests < 100


def test_a_status_that_is_not_allowed_is_a_fault() -> None:
    allowed = {grpc.StatusCode.NOT_FOUND}
    assert judged(_Refusal(grpc.StatusCode.NOT_FOUND), allowed, "x") == "NOT_FOUND"
    with pytest.raises(FaultError, match=r"x: status INTERNAL \(no\); expected one of NOT_FOUND"):
        judged(_Refusal(grpc.StatusCode.INTERNAL), allowed, "x")
