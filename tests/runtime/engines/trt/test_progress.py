"""Progress: never back, no guess without a ground, and a way to stop."""

from __future__ import annotations

from typing import Any

import pytest

from lqhq.runtime.engines.trt.progress import COSTS, EVERY_S, SUBGRAPHS, BuildClock, Progress, Watch

ROOT = "Building engine"


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def begin(clock: BuildClock, steps: int, *, subgraphs: int = 1) -> None:
    """What TensorRT-RTX reports in the first hundredth of a second."""
    clock.start(ROOT, None, 6, 0.0)
    clock.start("Cloning network graph", ROOT, 281, 0.0)
    clock.step("Cloning network graph", 280, 0.0)
    clock.finish("Cloning network graph")
    clock.step(ROOT, 3, 0.0)
    clock.start(SUBGRAPHS, ROOT, subgraphs, 0.0)
    clock.start(COSTS, SUBGRAPHS, steps, 0.0)


def test_rtx_with_two_profiles_estimates_from_the_first() -> None:
    clock = BuildClock(2)
    begin(clock, 10)
    for step in range(3):
        clock.step(COSTS, step, 0.01)
    clock.start("Determining refit engines", COSTS, 1, 0.01)
    assert clock.progress(0.02) == Progress(
        phase="Determining refit engines", done=pytest.approx(0.3), seconds=0.02, left_s=None
    )
    for step in (3, 4):
        clock.step(COSTS, step, 60.0)
    state = clock.progress(60.0)
    assert (state.done, state.left_s) == (pytest.approx(0.5), pytest.approx(60.0))
    for step in range(5, 9):
        clock.step(COSTS, step, 60.1)
    assert clock.progress(100.0).left_s == pytest.approx(20.0)
    assert clock.progress(130.0).left_s is None
    clock.step(COSTS, 9, 140.0)
    assert clock.progress(140.0).left_s == 0.0


def test_four_profiles_have_many_steps_but_not_of_like_length() -> None:
    """Seen with TensorRT-RTX: 20 steps, of which each fifth takes all of the time; a pace by steps was 12 times off."""
    clock = BuildClock(4)
    begin(clock, 20)
    for step in range(3):
        clock.step(COSTS, step, 0.1)
    assert clock.progress(6.0).left_s is None


def test_rtx_with_one_profile_has_no_ground_for_an_estimate() -> None:
    clock = BuildClock(1)
    begin(clock, 5)
    for step in range(3):
        clock.step(COSTS, step, 0.1)
        assert clock.progress(0.1).left_s is None


def test_many_like_steps_tell_the_pace() -> None:
    clock = BuildClock(1)
    begin(clock, 5)
    clock.start("Timing graph nodes", COSTS, 40, 2.0)
    clock.step("Timing graph nodes", 1, 3.0)
    assert clock.progress(3.0).left_s is None
    clock.step("Timing graph nodes", 9, 12.0)
    assert clock.progress(12.0).left_s == pytest.approx(30.0)


def test_the_first_instant_is_not_taken_for_progress() -> None:
    clock = BuildClock(1)
    clock.start(ROOT, None, 6, 0.0)
    clock.step(ROOT, 3, 0.0)
    assert clock.progress(0.0).done == 0.0


def test_done_never_goes_back_and_unknown_sizes_are_not_guessed() -> None:
    clock = BuildClock(1)
    begin(clock, 5, subgraphs=2)
    seen = []
    for _ in range(2):
        for step in range(5):
            clock.step(COSTS, step, 1.0)
            state = clock.progress(1.0)
            seen.append(state.done)
            assert state.left_s is None
        clock.finish(COSTS)
        clock.start(COSTS, SUBGRAPHS, 5, 1.0)
    assert seen == sorted(seen)
    assert max(seen) <= 1.0


def test_a_step_of_a_phase_that_never_began_is_ignored() -> None:
    clock = BuildClock(1)
    clock.step("never", 3, 0.0)
    clock.finish("never")
    assert clock.progress(1.0).done == 0.0


def watch(progress: Any = None, cancel: Any = None) -> tuple[Watch, Time]:
    now = Time()
    made = Watch(1, progress, cancel, clock=now)
    made.start(ROOT, None, 6)
    return made, now


def test_reports_are_throttled() -> None:
    seen: list[Progress] = []
    made, now = watch(seen.append)
    for step in range(100):
        now.now += EVERY_S / 10
        assert made.step(ROOT, step)
    assert 9 <= len(seen) <= 12
    made.end()
    assert seen[-1].done == 1.0


def test_cancel_stops_the_build() -> None:
    made, _now = watch(cancel=lambda: True)
    assert not made.step(ROOT, 0)
    assert made.cancelled


class _Stop(BaseException):
    """As KeyboardInterrupt, which a test had better not raise."""


@pytest.mark.parametrize("error", [ValueError("theirs"), _Stop()])
@pytest.mark.parametrize("which", ["progress", "cancel"])
def test_what_callbacks_raise_is_kept_and_stops_the_build(error: BaseException, which: str) -> None:
    def fail(*_: object) -> bool:
        raise error

    made, _now = watch(**{which: fail})
    assert not made.step(ROOT, 0)
    assert made.error is error
    assert not made.cancelled
    assert not made.step(ROOT, 1)
