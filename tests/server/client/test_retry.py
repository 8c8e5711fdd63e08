"""Tries, pauses and deadlines on a clock that stands still."""

from __future__ import annotations

import pytest
from grpc import StatusCode as Code
from hypothesis import given
from hypothesis import strategies as st

from lqhq.runtime.errors import OptionError
from lqhq.server.client.failures import Failure
from lqhq.server.client.retry import Attempts, Retry

AWAY = Failure(Code.UNAVAILABLE, "away")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(retry: Retry, timeout_s: float | None = None, draw: float = 0.0) -> tuple[Attempts, Clock]:
    clock = Clock()
    return Attempts(retry, timeout_s, clock=clock, draw=lambda: draw), clock


def pauses(tries: Attempts, failure: Failure, most: int = 20) -> list[float | None]:
    found: list[float | None] = []
    while len(found) < most:
        tries.begin()
        found.append(tries.pause_after(failure))
        if found[-1] is None:
            break
    return found


def test_pauses_double_up_to_the_longest() -> None:
    tries, _ = attempts(Retry(tries=6, first_s=1, longest_s=5))
    assert pauses(tries, AWAY) == [1, 2, 4, 5, 5, None]
    tries, _ = attempts(Retry(tries=2, first_s=1, longest_s=5), draw=1.0)
    assert pauses(tries, AWAY) == [0.5, None]


def test_a_hint_is_never_undercut_and_not_waited_for_beyond_patience() -> None:
    for draw in (0.0, 1.0):
        tries, _ = attempts(Retry(tries=2, patience_s=10), draw=draw)
        first = pauses(tries, AWAY._replace(retry_after_s=7.0))[0]
        assert first is not None
        assert 7.0 <= first <= 7.2
    tries, _ = attempts(Retry(patience_s=10))
    assert pauses(tries, AWAY._replace(retry_after_s=10.5)) == [None]


def test_a_busy_server_is_asked_for_as_long_as_patience_lasts() -> None:
    tries, clock = attempts(Retry(tries=1, patience_s=100), draw=0.0)
    busy = AWAY._replace(retry_after_s=7.0)
    clock.now += 1000  # waiting for its first answer is no impatience
    for _ in range(14):
        tries.begin()
        assert tries.pause_after(busy) == 7.0
        clock.now += 7
    tries.begin()
    assert tries.pause_after(busy) is None  # 98 of 100 seconds are over
    assert tries.tries == 15
    assert tries.pause_after(AWAY) is None  # and it may be away once


def test_the_deadline_is_for_all_tries() -> None:
    tries, clock = attempts(Retry(tries=9, first_s=1, longest_s=1), timeout_s=10)
    assert tries.begin() == 10
    clock.now += 8
    assert tries.pause_after(AWAY) == 1
    clock.now += 1
    assert tries.begin() == 1
    assert tries.pause_after(AWAY) is None  # it would end with the deadline
    clock.now += 5
    assert tries.begin() == 0.001  # gRPC says that it is over


def test_no_deadline_and_one_that_is_none() -> None:
    assert attempts(Retry())[0].begin() is None
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(OptionError, match="timeout_s"):
            attempts(Retry(), wrong)


@pytest.mark.parametrize(
    "wrong", [{"tries": 0}, {"first_s": 0}, {"first_s": 9.0}, {"patience_s": -1}, {"patience_s": float("nan")}]
)
def test_impatience_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="retry"):
        Retry(**wrong)  # type: ignore[arg-type]


@given(
    first=st.floats(0.01, 5),
    more=st.floats(0, 60),
    hint=st.none() | st.floats(0, 100),
    draw=st.floats(0, 1, exclude_max=True),
    timeout=st.none() | st.floats(0.1, 100),
)
def test_pauses_are_bounded_whatever_comes(
    first: float, more: float, hint: float | None, draw: float, timeout: float | None
) -> None:
    retry = Retry(tries=7, first_s=first, longest_s=first + more)
    tries, clock = attempts(retry, timeout, draw)
    for count in range(300):
        tries.begin()
        pause = tries.pause_after(AWAY._replace(retry_after_s=hint))
        if pause is None:
            return
        if count >= 6 and hint is None:
            raise AssertionError("the seventh try was not the last")
        assert first / 2 <= pause <= first + more if hint is None else hint <= pause <= hint + (first + more) / 2
        clock.now += max(pause, 0.5)
        assert hint is None or clock.now < 100 + 60.5
        assert timeout is None or clock.now < 100 + timeout + 0.5
    raise AssertionError("there was no last try")


def test_planted_only_away_and_busy_are_tried_again() -> None:
    tries, _ = attempts(Retry())
    assert pauses(tries, Failure(Code.INVALID_ARGUMENT, "no")) == [None]
    tries, _ = attempts(Retry())
    assert len(pauses(tries, AWAY)) == 5
