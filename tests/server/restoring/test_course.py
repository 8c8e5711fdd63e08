"""A course tells of what is worth telling, and keeps the time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from lqhq.runtime.geometry import Box
from lqhq.server.admission.predicted import Predicted
from lqhq.server.admission.reservation import Reservation
from lqhq.server.restoring.course import Course, FollowedSource

BOX = Box(0, 0, 2, 2)
PIXELS = np.zeros((2, 2, 3), np.uint8)


class Clock:
    now_s = 10.0

    def __call__(self) -> float:
        return self.now_s


def test_ten_times_a_second_and_at_the_end():
    clock, told = Clock(), list[float]()
    course = Course(clock, lambda: told.append(clock.now_s), follow=True)
    for done in range(1, 101):
        clock.now_s += 0.01
        course.moved(done, finished=done == 100)
    assert 10 <= len(told) <= 11
    assert course.ended_s == clock.now_s


def test_who_does_not_follow_hears_of_start_and_end():
    told = list[str]()
    course = Course(Clock(), lambda: told.append("told"), follow=False)
    course.started()
    course.started()
    course.moved(1, finished=False)
    assert len(told) == 1
    course.moved(2, finished=True)
    assert len(told) == 2


def test_tiles_wait_in_order_and_the_first_is_told():
    told = list[str]()
    course = Course(Clock(), lambda: told.append("told"), follow=False)
    for top in range(3):
        course.tile(BOX._replace(top=top), PIXELS)
    assert len(told) == 1
    assert [course.next_tile()[0].top for _ in range(3)] == [0, 1, 2]
    assert course.next_tile() is None
    course.tile(BOX, PIXELS)
    assert len(told) == 2  # planted: whoever found nothing must hear of what came after


def test_what_is_left_goes_on_as_until_now():
    clock = Clock()
    course = Course(clock, lambda: None, follow=False)
    assert course.left_s(10) == 0.0
    course.started()
    clock.now_s += 4
    course.moved(4, finished=False)
    assert course.left_s(10) == 6.0
    assert course.left_s(3) == 0.0


def test_a_source_starts_with_its_first_feed_and_counts_for_the_ledger():
    made: Any = SimpleNamespace(finished=False, done_works=0, choice="choice")
    job: Any = SimpleNamespace(feed=lambda work: {"state": PIXELS})
    made.ready = lambda limit: [SimpleNamespace(job=job, call=f"call {at}") for at in range(limit)]

    def done(work: Any, fetch: Any) -> None:
        made.done_works += 1
        made.finished = made.done_works == 2

    made.done = done
    course = Course(Clock(), lambda: None, follow=False)
    reservation = Reservation(Predicted(2, 1.0, 0.0, 1), 1)
    source = FollowedSource(made, course, reservation)
    first, second = source.ready(2)
    assert (first.call, second.call, source.choice) == ("call 0", "call 1", "choice")
    assert course.started_s is None
    assert first.feed() == {"state": PIXELS}
    assert course.started_s == 10.0
    source.done(first, {})
    assert (reservation.done_works, source.finished, course.ended_s) == (1, False, None)
    source.done(second, {})
    assert (reservation.done_works, source.finished, course.ended_s) == (2, True, 10.0)
