"""The Job: what its stages offer is given out once and bounded, and the result waits for all of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.geometry import Box
from lqhq.runtime.job import Call, Job


class Stages:
    """Three calls, the last of which depends on the others."""

    total = 3

    def __init__(self) -> None:
        self.given, self.seen = 0, list[int]()

    def ready(self) -> Call | None:
        if self.given == 3 or (self.given == 2 and len(self.seen) < 2):
            return None
        self.given += 1
        return Call("denoise", self.given - 1, 0, Box(0, 0, 4, 8))

    def feed(self, call: Call) -> dict[str, Any]:
        return {"state": np.float32([call.tile])}

    def done(self, call: Call, fetch: dict[str, Any]) -> None:
        self.seen.append(call.tile)


def job() -> Job:
    sink: Any = SimpleNamespace(image=np.zeros((4, 8, 3)))
    return Job(Stages(), sink)


def test_ready_work_is_bounded_given_once_and_waits_for_what_it_needs():
    one = job()
    (first,) = one.ready(1)
    (second,) = one.ready(5)
    assert one.ready(5) == []
    for work in (second, first):
        one.done(work, {})
    (third,) = one.ready(5)
    assert [work.call.tile for work in (first, second, third)] == [0, 1, 2]
    assert third.feed()["state"] == [2]
    assert third.key == ("denoise", 4, 8)


def test_a_result_before_the_end_is_refused():
    one = job()
    for work in one.ready(2):
        one.done(work, {})
    with pytest.raises(ValueError, match="2 of 3"):
        one.result()
    (last,) = one.ready(1)
    one.done(last, {})
    assert one.finished
    assert one.result().shape == (4, 8, 3)
