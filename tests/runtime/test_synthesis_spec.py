"""Where a run may begin: bounds, and schedules that are there with as many rows as their place says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lqhq.runtime.schedule import Row, Schedule, Start
from lqhq.runtime.synthesis_spec import Synthesis, check_starts

GIVEN: dict[str, Any] = {"steps": 12, "schedules": ["a-1", "a-2", "a-3"], "most": 0.25}


def schedule(rows: int) -> Schedule:
    return Schedule(start=Start(), rows=tuple(Row(t=1.0, c_state=0.0, c=(1.0,)) for _ in range(rows)))


def test_it_is_read_and_written_back() -> None:
    found = msgspec.convert(GIVEN, Synthesis)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Synthesis) == found
    check_starts(found, {f"a-{n}": schedule(n) for n in (1, 2, 3)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"schedules": []}, "schedules"),
        ({"most": 0.0}, "most"),
        ({"most": 1.5}, "most"),
        ({"most": 0.5}, "3 schedules for strengths up to 0.5 of 12 steps"),
        ({"steps": 2, "most": 1.0}, "3 schedules"),
        ({"more": 1}, "more"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert({**GIVEN, **change}, Synthesis)


def test_a_start_that_is_missing_or_of_another_length_is_refused() -> None:
    """The planted fault: two schedules in each other's place."""
    synthesis = msgspec.convert(GIVEN, Synthesis)
    with pytest.raises(ValueError, match=r"schedules\[2\] is 'a-3'"):
        check_starts(synthesis, {f"a-{n}": schedule(n) for n in (1, 2)})
    with pytest.raises(ValueError, match="has 2 rows"):
        check_starts(synthesis, {"a-1": schedule(2), "a-2": schedule(1), "a-3": schedule(3)})
