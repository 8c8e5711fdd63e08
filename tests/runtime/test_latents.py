"""Stages one after the other: the order, what is given out, what is made late, and outputs that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.job import Call
from lqhq.runtime.latents import Chain, Later, decoding, encoding, tagging, worded

CANVAS = Size(3, 5)


class Stages:
    """`total` calls that may all be out at once."""

    def __init__(self, name: str, total: int, log: list[str]) -> None:
        self.name, self.total, self.log, self.given = name, total, log, 0

    def ready(self) -> Call | None:
        if self.given == self.total:
            return None
        self.given += 1
        return Call(self.name, self.given - 1, 0, Box(0, 0, 1, 1))

    def feed(self, call: Call) -> dict[str, Any]:
        self.log.append(f"feed {self.name}{call.tile}")
        return {}

    def done(self, call: Call, fetch: Any) -> None:
        self.log.append(f"done {self.name}{call.tile}")


def all_ready(stages: Any) -> list[Call]:
    return list(iter(stages.ready, None))


def test_a_stage_begins_when_the_one_before_it_is_done() -> None:
    log: list[str] = []
    chain = Chain([Stages("a", 2, log), Stages("b", 1, log), Stages("c", 3, log)])
    assert chain.total == 6
    for names in ("aa", "b", "ccc"):
        calls = all_ready(chain)
        assert "".join(call.role for call in calls) == names
        for call in reversed(calls):
            assert chain.ready() is None  # each is given out once, and nothing of the next while one of these is out
            chain.feed(call)
            chain.done(call, {})
    assert chain.ready() is None
    done = [line.removeprefix("done ") for line in log if line.startswith("done")]
    assert done == ["a1", "a0", "b0", "c2", "c1", "c0"]


def test_a_stage_is_made_when_its_first_call_is_asked_for() -> None:
    log: list[str] = []
    made: list[Stages] = []

    def make() -> Stages:
        made.append(Stages("late", 2, log))
        return made[-1]

    chain = Chain([Stages("a", 1, log), Later(2, make)])
    (call,) = all_ready(chain)
    assert chain.total == 3
    assert not made
    chain.done(call, {})
    first, second = all_ready(chain)
    for one in (first, second):
        chain.feed(one)
        chain.done(one, {})
    assert len(made) == 1
    assert chain.ready() is None
    assert log == ["done a0", "feed late0", "done late0", "feed late1", "done late1"]


def test_one_call_each_with_its_inputs_made_when_asked_for() -> None:
    asked: list[str] = []
    taken: dict[str, Any] = {}

    def read(box: Box) -> np.ndarray:
        asked.append(f"lq {tuple(box)}")
        return np.ones((3, *box.size), np.float32)

    def noise(box: Box) -> np.ndarray:
        asked.append(f"noise {tuple(box)}")
        return np.zeros((4, *box.size), np.float32)

    stages = encoding(read, noise, CANVAS, factor=8, take=lambda state: taken.update(state=state))
    assert stages.total == 1
    assert not asked
    (call,) = all_ready(stages)
    assert call == Call("encode", 0, 0, Box(0, 0, 3, 5))  # of the latent canvas: what a batch is put together by
    feed = stages.feed(call)
    assert {name: array.shape for name, array in feed.items()} == {"lq": (1, 3, 24, 40), "noise": (1, 4, 3, 5)}
    assert asked == ["lq (0, 0, 24, 40)", "noise (0, 0, 3, 5)"]
    stages.done(call, {"state": np.full((1, 4, 3, 5), 7, np.float32)})
    assert taken["state"].shape == (4, 3, 5)


def test_words_and_tags() -> None:
    taken: list[Any] = []
    for stages, name, feed, fetch in (
        (tagging(lambda: np.ones((3, 6, 6), np.float32), taken.append), "tag", ("image", (1, 3, 6, 6)), "logits"),
        (worded(lambda: np.ones((1, 77), np.int64), taken.append), "text", ("ids", (1, 77)), "cond"),
    ):
        (call,) = all_ready(stages)
        assert (call.role, call.box) == (name, Box(0, 0, 0, 0))
        assert {key: array.shape for key, array in stages.feed(call).items()} == dict([feed])
        with pytest.raises(EngineError, match=f"{name}: found outputs .* expected {fetch}"):
            stages.done(call, {"other": np.zeros((1, 2), np.float32)})
        stages.done(call, {fetch: np.zeros((1, 2, 3), np.float32)})
    assert [array.shape for array in taken] == [(2, 3), (2, 3)]


@pytest.mark.parametrize("shape", [(1, 3, 24, 39), (1, 4, 24, 40), (1, 3, 3, 5)])
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """The planted fault: else the result would have rows that nobody wrote."""
    rows: list[Any] = []
    stages = decoding(lambda: np.zeros((4, 3, 5), np.float32), CANVAS, factor=8, rows=lambda *at: rows.append(at))
    (call,) = all_ready(stages)
    assert stages.feed(call)["state"].shape == (1, 4, 3, 5)
    with pytest.raises(EngineError, match=r"decode: .*expected hq of shape \(1, 3, 24, 40\)"):
        stages.done(call, {"hq": np.zeros(shape, np.float32)})
    assert rows == []
    stages.done(call, {"hq": np.zeros((1, 3, 24, 40), np.float32)})
    assert rows[0][0] == 0
    assert rows[0][1].shape == (3, 24, 40)


@pytest.mark.parametrize("shape", [(1, 4, 3, 4), (1, 4, 6, 10), (1, 3, 3, 5)])
def test_a_state_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """A larger one would be cut, without a word."""

    def read(box: Box) -> np.ndarray:
        return np.zeros((3, *box.size), np.float32)

    def noise(box: Box) -> np.ndarray:
        return np.zeros((4, *box.size), np.float32)

    stages = encoding(read, noise, CANVAS, factor=2, take=lambda state: None)
    (call,) = all_ready(stages)
    for fetch in ({"pred": np.zeros((1, 4, 3, 5), np.float32)}, {"state": np.zeros(shape, np.float32)}):
        with pytest.raises(EngineError, match=r"encode: .*expected state of shape \(1, 4, 3, 5\)"):
            stages.done(call, fetch)
