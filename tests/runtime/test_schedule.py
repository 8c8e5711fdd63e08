"""Schedules check their own numbers."""

from __future__ import annotations

import msgspec
import pytest

from lqhq.runtime.errors import ScheduleError
from lqhq.runtime.schedule import Row, Schedule, Start


def row(**fields) -> Row:
    return Row(**({"t": 0.5, "c_state": 0.5, "c": (0.5,)} | fields))


def test_json_keeps_every_bit():
    rows = (row(t=1 / 3, c=(1 / 7,)), row(log_sigma=(-0.1, 1e-300), c=(0.2, 1e17)))
    schedule = Schedule(start=Start(c_noise=0.1), rows=rows, about="x")
    assert msgspec.json.decode(msgspec.json.encode(schedule), type=Schedule) == schedule


def test_depth_noise_and_variance_are_read_off_the_rows():
    schedule = Schedule(start=Start(), rows=(row(), row(c=(0.1, 0.2)), row(c=(1.0, 0.0, 0.5), sigma=0.1)))
    assert schedule.depth == 2
    assert not schedule.needs_variance
    assert [r.noisy for r in schedule.rows] == [False, False, True]
    assert Schedule(start=Start(), rows=(row(log_sigma=(0.0, 1.0)),)).needs_variance


@pytest.mark.parametrize("fields", [{"t": float("nan")}, {"c": (float("inf"),)}, {"log_sigma": (0.0, float("nan"))}])
def test_numbers_that_are_not_finite_are_refused(fields):
    with pytest.raises(ScheduleError, match=r"rows\[0\].*finite numbers"):
        Schedule(start=Start(), rows=(row(**fields),))


def test_a_first_row_cannot_look_back():
    with pytest.raises(ScheduleError, match="no earlier value exists"):
        Schedule(start=Start(), rows=(row(c=(0.5, 0.5)),))
    assert Schedule(start=Start(), rows=(row(c=(0.5, 0.0)),)).depth == 1  # zeros look at nothing


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "rows: found 0"),
        ((row(),) * 10_001, "rows: found 10001"),
        ((row(clip=-1.0),), "clip -1.0"),
        ((row(clip=float("nan")),), "clip nan"),
        ((row(c=()),), "0 factors"),
        ((row(c=(1.0,) + (0.0,) * 16),), "17 factors"),
        ((row(t=1e30),), "none above 1e18"),
    ],
)
def test_what_a_program_builds_is_held_to_the_schema_too(rows, message):
    with pytest.raises(ScheduleError, match=message):
        Schedule(start=Start(), rows=rows)
