"""Who is let in, who is not, and when to come back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqhq.runtime.errors import LimitError, OptionError
from lqhq.server.admission.decision import Limits, Rejected, decide
from lqhq.server.admission.predicted import Predicted
from lqhq.server.admission.reservation import Held, Reservation

LIMITS = Limits(requests=4, works=1000, bytes=1000, wait_ms=500.0)


def cost(works: int = 1, ms: float = 10.0, least_ms: float = 0.0, size: int = 10) -> Predicted:
    return Predicted(works, ms, least_ms, size)


def asked(predicted: Predicted, *held: Predicted, level: int = 2, left_ms: float = float("inf")) -> Rejected | None:
    now = 100.0
    reservations = Held(Reservation(one, 2) for one in held)
    return decide(predicted, level=level, deadline_ms=now + left_ms, now_ms=now, held=reservations, limits=LIMITS)


def test_an_idle_server_takes_what_fits_however_long_it_runs():
    assert asked(cost(works=1000, ms=1e7, size=1000)) is None


@pytest.mark.parametrize("never", [cost(works=1001), cost(size=1001)])
def test_what_never_fits_is_refused_for_good(never):
    refused = asked(never)
    assert isinstance(refused.reason, LimitError)
    assert refused.retry_after_ms is None


def test_a_small_request_is_let_in_beside_a_huge_one():
    assert asked(cost(ms=10.0), cost(ms=1e6)) is None


def test_a_huge_one_is_not_let_in_behind_another():
    refused = asked(cost(ms=1e6), cost(ms=2500.0))
    assert "2500 ms to wait" in str(refused.reason)
    assert refused.retry_after_ms == pytest.approx(2000.0, rel=0.05)


def test_less_urgent_work_is_not_waited_for():
    assert asked(cost(ms=1e6), cost(ms=2500.0), level=1) is None
    assert asked(cost(ms=10.0), cost(ms=2500.0), level=3) is not None


@pytest.mark.parametrize(
    ("held", "what"),
    [([cost()] * 4, "5 requests"), ([cost(works=1000)], "1001 network calls"), ([cost(size=995)], "1005 bytes")],
)
def test_a_full_queue_says_so(held, what):
    refused = asked(cost(), *held)
    assert what in str(refused.reason)
    assert 100 <= refused.retry_after_ms <= 60_000


@pytest.mark.parametrize(("least", "left", "fits"), [(50.0, 50.0, True), (51.0, 50.0, False), (0.0, 0.0, False)])
def test_a_deadline_that_cannot_be_met_alone_is_refused(least, left, fits):
    refused = asked(cost(ms=1e6, least_ms=least), left_ms=left)
    assert (refused is None) == fits
    if refused is not None:
        assert isinstance(refused.reason, OptionError)
        assert refused.retry_after_ms is None


COSTS = st.builds(cost, st.integers(1, 400), st.floats(0.1, 1e5), st.floats(0, 1e3), st.integers(0, 400))


@given(COSTS, st.lists(COSTS, max_size=6), st.integers(1, 3), st.floats(-5, 1e4))
def test_what_is_let_in_keeps_every_limit(one, held, level, left):
    refused = asked(one, *held, level=level, left_ms=left)
    if refused is None:
        everything: list[Any] = [one, *held]
        assert len(everything) <= LIMITS.requests
        assert sum(each.works for each in everything) <= LIMITS.works
        assert sum(each.bytes for each in everything) <= LIMITS.bytes
        assert left > 0
        assert one.least_ms <= left
    elif refused.retry_after_ms is not None:
        assert asked(one, left_ms=left) is None  # it is let in where nobody is before it


@pytest.mark.parametrize("name", ["requests", "works", "bytes", "wait_ms", "workers"])
def test_limits_that_let_nothing_in_are_refused(name):
    fields: dict[str, Any] = {"requests": 1, "works": 1, "bytes": 1, "wait_ms": 1.0, "workers": 1}
    with pytest.raises(ValueError, match=name):
        Limits(**fields | {name: 0})
