"""Turns are interleaved, ratios are taken within a round, and a contender that dies is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from measuring.contest import Contender, Outcome, hold_contest, ratio

CONTENDERS = """
import os, sys, time
import numpy as np
from measuring.entry import Entry

def sleeper(seconds, journal, name):
    def run():
        with open(journal, "a") as file:
            file.write(name)
        time.sleep(seconds)
    print("a library that prints must not disturb the replies")
    return Entry(run=run, answer=lambda: np.float32([seconds]), note="slept")

def mortal(lives):
    left = iter(range(lives))
    def run():
        if next(left, None) is None:
            raise RuntimeError("out of lives")
    return Entry(run=run)

def vanishing():
    return Entry(run=lambda: os._exit(9))

def unloadable():
    import a_package_that_is_not_there

def hungry(megabytes):
    return Entry(run=lambda: np.ones(megabytes << 20, np.uint8).sum())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.py"
    path.write_text(CONTENDERS)
    return path


def sleeper(file: Path, name: str, seconds: float) -> Contender:
    options = {"seconds": seconds, "journal": str(file.with_name("journal")), "name": name}
    return Contender(name=name, file=file, function="sleeper", options=options)


def test_turns_alternate_and_ratios_are_right(file: Path) -> None:
    contenders = [sleeper(file, "a", 0.02), sleeper(file, "b", 0.06)]
    slow, fast = reversed(hold_contest(contenders, rounds=3, warm_ups=1, answers=True))
    assert file.with_name("journal").read_text() == "ab" + "ab" + "ba" + "ab"
    assert len(slow.seconds) == len(fast.seconds) == 3
    assert ratio(slow, fast).median == pytest.approx(3, rel=0.5)
    assert ratio(fast, slow).median < 1  # a swapped ratio would be caught
    assert fast.answer == np.float32([0.02])
    assert fast.note == "slept"
    assert fast.failure is None


def test_ratios_are_taken_within_rounds() -> None:
    """The machine became ten times slower half way; the medians alone would be far apart from the truth."""
    fast = Outcome(name="fast", seconds=[1, 1, 1, 10, 10, 10])
    slow = Outcome(name="slow", seconds=[2, 2, 20, 20, 20, 2])
    assert ratio(slow, fast).median == 2
    assert slow.median / fast.median == 2
    steady = Outcome(name="steady", seconds=[2, 2, 2, 20, 20, 20])
    assert ratio(steady, fast) == (2, 2, 2, 1 - 2 / 2**6)


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        ("mortal", {"lives": 0}, "out of lives"),
        ("mortal", {"lives": 1}, "out of lives"),
        ("vanishing", {}, "exit code 9"),
        ("unloadable", {}, "a_package_that_is_not_there"),
        ("no_such_function", {}, "no_such_function"),
    ],
)
def test_the_dead_are_reported_and_the_rest_goes_on(
    file: Path, function: str, options: dict[str, int], words: str
) -> None:
    dead = Contender(name="dead", file=file, function=function, options=options)
    outcomes = hold_contest([dead, sleeper(file, "a", 0.001)], rounds=2, warm_ups=1)
    assert words in (outcomes[0].failure or "")
    assert np.isnan(outcomes[0].median)
    assert outcomes[1].failure is None
    assert len(outcomes[1].seconds) == 2


def test_an_answer_that_is_not_there_is_a_failure(file: Path) -> None:
    (outcome,) = hold_contest(
        [Contender(name="m", file=file, function="mortal", options={"lives": 9})],
        rounds=1,
        warm_ups=0,
        answers=True,
    )
    assert "found an entry without one" in (outcome.failure or "")


def test_peak_memory_is_the_childs_own(file: Path) -> None:
    ballast = np.ones(150 << 20, np.uint8)  # the parent is larger than the child; getrusage would say so
    contenders = [
        Contender(name=str(size), file=file, function="hungry", options={"megabytes": size}) for size in (1, 41)
    ]
    small, large = hold_contest(contenders, rounds=1, warm_ups=0)
    assert ballast[0] == 1
    assert 35e6 < large.peak - small.peak < 50e6
    assert small.peak < 120e6
