"""Room is given once, and given back."""

from __future__ import annotations

from lqhq.server.admission.decision import Accepted, Limits, Rejected
from lqhq.server.admission.ledger import Ledger
from lqhq.server.admission.predicted import Predicted

COST = Predicted(works=10, ms=100.0, least_ms=0.0, bytes=400)


def ledger() -> Ledger:
    return Ledger(Limits(requests=9, works=100, bytes=1000, wait_ms=1e6))


def test_room_is_not_given_twice():
    books = ledger()
    first = books.reserve(COST, level=2, now_ms=0.0)
    assert isinstance(first, Accepted)
    assert isinstance(books.reserve(COST, level=2, now_ms=0.0), Accepted)
    assert isinstance(books.reserve(COST, level=2, now_ms=0.0), Rejected)
    assert books.held.bytes == 800
    books.release(first.reservation)
    books.release(first.reservation)
    assert books.held.bytes == 400
    assert isinstance(books.reserve(COST, level=2, now_ms=0.0), Accepted)


def test_ten_thousand_that_are_refused_leave_nothing():
    books = ledger()
    for _ in range(10_000):
        assert isinstance(books.reserve(COST._replace(bytes=1001), level=2, now_ms=0.0), Rejected)
    assert len(books.held) == 0


def test_done_works_are_not_waited_for_but_their_bytes_stay():
    books = ledger()
    first = books.reserve(COST, level=2, now_ms=0.0)
    assert isinstance(first, Accepted)
    first.reservation.done_works = 4
    assert books.held.left_ms == 60.0
    assert books.held.wait_ms(50.0, 2) == 50.0
    assert books.held.works == 6
    assert books.held.bytes == 400
    first.reservation.done_works = 10
    assert books.held.wait_ms(50.0, 2) == 0
