"""When room comes: by hand, and against a server that gives out works one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.server.admission.decision import LEAST_RETRY_MS, MOST_RETRY_MS, Limits, decide
from lqhq.server.admission.predicted import Predicted
from lqhq.server.admission.reservation import Held, Reservation
from lqhq.server.admission.sharing import CLOSE, CLOSE_MS, Moment, Sharing

WORKS = 40


def reservation(ms: float, level: int = 2, *, done: int = 0, size: int = 10) -> Reservation:
    return Reservation(Predicted(WORKS, ms, 0.0, size), level, done)


def sharing(*held: Reservation, own_ms: float = 10.0, level: int = 2, workers: int = 1) -> Sharing:
    return Sharing(Held(held), own_ms=own_ms, level=level, workers=workers)


def close_to(ms: float) -> float:
    return max(CLOSE_MS, 2 * CLOSE * ms)


def fewer_than(count: int):
    return lambda moment: moment.requests < count


@pytest.mark.parametrize(
    ("lefts", "ends"),
    [
        ((1000,), (1000,)),
        ((1000, 1000, 1000), (3000, 3000, 3000)),  # they end together, late: the time of one would be far too early
        ((100, 300, 1000), (300, 700, 1400)),
        ((0, 500), (0, 500)),  # done, and its answer on the way
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_requests_of_a_level_share(lefts, ends, workers):
    shared = sharing(*map(reservation, lefts), workers=workers)
    for gone, end in enumerate(ends):
        found = shared.first_ms(fewer_than(len(lefts) - gone))
        assert end / workers <= found <= end / workers + close_to(end)


def test_levels_come_one_after_the_other():
    shared = sharing(reservation(100, 3), reservation(1000, 1), reservation(500, 2))
    assert shared.first_ms(fewer_than(3)) == pytest.approx(1000, abs=close_to(1000))
    assert shared.first_ms(fewer_than(2)) == pytest.approx(1500, abs=close_to(1500))
    assert shared.first_ms(fewer_than(1)) == pytest.approx(1600, abs=close_to(1600))


def test_what_is_done_is_not_waited_for():
    assert sharing(reservation(1000, done=30)).first_ms(fewer_than(1)) == pytest.approx(250, abs=close_to(250))


def test_works_and_waiting_shrink_between_the_ends():
    shared = sharing(reservation(1000), reservation(1000), own_ms=1e6)
    assert shared.now == Moment(requests=2, works=80.0, bytes=20, wait_ms=2000.0)
    assert shared.first_ms(lambda moment: moment.works <= 20) == pytest.approx(1500, abs=close_to(1500))
    assert shared.first_ms(lambda moment: moment.wait_ms <= 400) == pytest.approx(1600, abs=close_to(1600))


def test_bytes_are_there_to_the_end():
    shared = sharing(reservation(1000, size=70), reservation(10, size=20))
    assert shared.first_ms(lambda moment: moment.bytes <= 80) == pytest.approx(20, abs=close_to(20))
    assert shared.first_ms(lambda moment: moment.bytes <= 60) == pytest.approx(1010, abs=close_to(1010))


def test_nothing_held_is_room_at_once():
    assert sharing().now == Moment(0, 0, 0, 0)
    assert sharing().first_ms(fewer_than(1)) == 0


class Serving:
    """Gives out works one by one: of the most urgent level that has any, to who has had the least since it began."""

    def __init__(self, held: list[Reservation], workers: int) -> None:
        self.held, self.now_ms = [one for one in held if one.left], 0.0
        self._had, self._workers = dict.fromkeys(held, 0.0), workers

    def until(self, ms: float) -> None:
        while self.held and self.now_ms < ms:
            one = min(self.held, key=lambda each: (each.level, self._had[each]))
            unit = one.predicted.ms / WORKS
            one.done_works += 1
            self._had[one] += unit
            self.now_ms += unit / self._workers
            if not one.left:
                self.held.remove(one)


HELD = st.builds(
    reservation, st.floats(100, 1e4), st.integers(1, 3), done=st.integers(0, WORKS - 1), size=st.integers(0, 100)
)
LIMITS = st.builds(
    Limits,
    requests=st.integers(1, 6),
    works=st.integers(WORKS, 200),
    bytes=st.integers(100, 300),
    wait_ms=st.floats(1, 1e4),
    workers=st.integers(1, 3),
)


@settings(deadline=None)
@given(
    st.lists(HELD, min_size=1, max_size=6), LIMITS, st.floats(10, 1e4), st.integers(1, 3), st.integers(0, 100)
)  # fmt: skip
def test_who_comes_back_when_told_is_let_in_and_not_long_before(held, limits, ms, level, size):
    one = Predicted(WORKS, ms, 0.0, size)

    def refused(held: list[Reservation]):
        return decide(one, level=level, deadline_ms=1e9, now_ms=0.0, held=Held(held), limits=limits)

    first = refused(held)
    if first is None:
        return
    total_ms = sum(each.left_ms for each in held) / limits.workers
    after = first.retry_after_ms
    assert 0 < after <= max(LEAST_RETRY_MS, total_ms * (1 + 1e-9))
    # Works are no infinitely small shares: each request may be one ahead or behind.
    grain_ms = 2 * sum(each.predicted.ms / WORKS for each in held) / limits.workers + close_to(after)
    serving = Serving(held, limits.workers)
    if LEAST_RETRY_MS < after < MOST_RETRY_MS and after > grain_ms:
        serving.until(after - grain_ms)
        assert refused(serving.held) is not None
    if after < MOST_RETRY_MS:
        serving.until(after + grain_ms)
        assert refused(serving.held) is None
