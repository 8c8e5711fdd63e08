"""Rows over a whole canvas: each is blended before the next, whatever the tiles, their order and their window."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from lqhq.runtime import stage_outer as subject
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.job import Call
from lqhq.runtime.noise import NoiseField, row_shapes
from lqhq.runtime.schedule import Row, Schedule, Start
from lqhq.runtime.stage_outer import StageOuter, row_outputs
from lqhq.runtime.tiles import TilePlan, plan_tiles

CANVAS, CHANNELS = Size(11, 17), 2
WHOLE = plan_tiles(CANVAS, CANVAS, overlap=0, multiple=1)
TILED = plan_tiles(CANVAS, Size(6, 7), overlap=2, multiple=1)
LAST = Row(t=1.0, c_state=0.0, c=(1.0,))


def schedule_of(*rows: Row) -> Schedule:
    return Schedule(start=Start(), rows=rows)


TWO = schedule_of(Row(t=2.0, c_state=0.5, c=(0.5,)), Row(t=1.0, c_state=0.25, c=(0.5, 0.25)))
DRAWN = schedule_of(Row(t=2.0, c_state=0.5, c=(0.5,), sigma=0.3), LAST)
LEARNED = schedule_of(Row(t=2.0, c_state=0.5, c=(0.5,), log_sigma=(-1.0, 0.5)), LAST)


def network(state: np.ndarray, t: float) -> dict[str, np.ndarray]:
    """Of each pixel alone, so that tiles are exact."""
    return {"pred": np.tanh(t * state), "var": np.cos(state)}


def given() -> np.ndarray:
    return np.random.default_rng(11).standard_normal((CHANNELS, *CANVAS), np.float32)


def stages(schedule: Schedule, plan: TilePlan, last: list[np.ndarray], **options: Any) -> StageOuter:
    return StageOuter(
        schedule,
        plan,
        NoiseField(seed=4, shapes=row_shapes(CHANNELS, CANVAS, len(schedule.rows)), injected=None),
        channels=CHANNELS,
        start=given,
        extra=lambda row: {"t": np.float32([schedule.rows[row].t])},
        finish=last.append,
        **options,
    )


def run(schedule: Schedule, plan: TilePlan, *, shuffled: int | None = None, **options: Any) -> np.ndarray:
    last: list[np.ndarray] = []
    one, order, count = stages(schedule, plan, last, **options), random.Random(shuffled), 0
    while calls := list(iter(one.ready, None)):
        fetched = []
        for call in calls:
            feed = one.feed(call)
            fetched.append((call, network(np.array(feed["state"]), float(feed["t"][0]))))
        if shuffled is not None:
            order.shuffle(fetched)
        for call, fetch in fetched:
            one.done(call, fetch)
        count += len(calls)
    assert count == one.total == len(plan) * len(schedule.rows)
    assert len(last) == 1
    return last[0]


def by_hand(schedule: Schedule) -> np.ndarray:
    """Without noise, in float64."""
    state, history = given().astype(np.float64), list[np.ndarray]()
    for row in schedule.rows:
        v = network(state, row.t)["pred"]
        values = [v, *history]
        state = row.c_state * state + sum(c * value for c, value in zip(row.c, values, strict=False))
        history = values
    return state


@pytest.mark.parametrize("plan", [WHOLE, TILED])
@pytest.mark.parametrize("window", ["ramp", "gaussian"])
def test_rows_follow_their_formula_with_their_history(plan: TilePlan, window: Any) -> None:
    assert run(TWO, plan, window=window) == pytest.approx(by_hand(TWO), abs=1e-6)


@pytest.mark.parametrize("schedule", [TWO, DRAWN, LEARNED])
def test_tiles_and_their_order_do_not_show(schedule: Schedule) -> None:
    whole = run(schedule, WHOLE)
    assert run(schedule, TILED) == pytest.approx(whole, abs=1e-6)
    for seed in range(3):
        assert np.array_equal(run(schedule, TILED, shuffled=seed), run(schedule, TILED))
    assert np.array_equal(given(), given())


def test_noise_is_drawn_by_row_and_scaled_by_the_blended_variance() -> None:
    assert np.abs(run(DRAWN, WHOLE) - by_hand(DRAWN)).max() > 0.1
    assert np.abs(run(LEARNED, WHOLE) - by_hand(LEARNED)).max() > 0.1


def test_a_row_that_is_stepped_with_another_rows_noise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault."""
    wanted, real = run(DRAWN, TILED), subject.step_box
    monkeypatch.setattr(subject, "step_box", lambda row, index, *rest: real(row, index + 1, *rest))
    # The stream's row is counted into the noise's counter, so row 1 has other noise than row 0.
    assert np.abs(run(DRAWN, TILED) - wanted).max() > 0.1


def test_nothing_is_taken_before_the_first_call_and_rows_wait() -> None:
    started: list[int] = []
    last: list[np.ndarray] = []
    one = stages(TWO, TILED, last)
    one._start = lambda: (started.append(1), given())[1]
    assert one.total == 2 * len(TILED)
    assert not started
    calls = list(iter(one.ready, None))
    assert started == [1]
    assert {call.row for call in calls} == {0}
    assert len(calls) == len(TILED)
    assert [call.box for call in calls] == [TILED.box(index) for index in range(len(TILED))]
    for call in calls[:-1]:
        one.done(call, network(np.array(one.feed(call)["state"]), 2.0))
    assert one.ready() is None
    assert not last
    one.done(calls[-1], network(np.array(one.feed(calls[-1])["state"]), 2.0))
    following = one.ready()
    assert following is not None
    assert (following.row, following.tile) == (1, 0)


def test_outputs_that_are_missing_or_of_another_shape_are_refused() -> None:
    call = Call("denoise", 0, 0, Box(0, 0, 6, 7))
    pred = np.zeros((1, 2, 6, 7), np.float32)
    assert row_outputs(TWO, call, {"pred": pred, "var": pred}, CHANNELS)[1] is None
    found = row_outputs(LEARNED, call, {"pred": pred, "var": pred + 1}, CHANNELS)[1]
    assert found is not None
    assert found.min() == 1
    with pytest.raises(EngineError, match=r"expected var of shape \(1, 2, 6, 7\)"):
        row_outputs(LEARNED, call, {"pred": pred}, CHANNELS)
    for wrong in ({}, {"pred": pred[:, :, :5]}, {"pred": pred[:, :1]}):
        with pytest.raises(EngineError, match=r"expected pred of shape \(1, 2, 6, 7\)"):
            row_outputs(TWO, call, wrong, CHANNELS)
