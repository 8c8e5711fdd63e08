"""Whatever is no message is refused before anything is done with it."""

from __future__ import annotations

import random

import pytest

from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.server.workers import messages as m
from lqhq.server.workers.opening import Checked, Opened, Opening
from lqhq.server.workers.packets import LostError

SEED = 7_102
PROFILE = Profile(batch=Range(1, 1, 4), height=Range(8, 8, 16), width=Range(8, 8, 16))
OPENED = Opened(
    shapes=EngineShapes(limits={"a": 16}, profiles={"a": (PROFILE,)}, segmented=frozenset({"decode"})),
    engine_version="1.2",
    precision="fp16",
    device="cuda:1",
    seconds=0.5,
    checked=Checked(cases=3, passed=True, seconds=0.25, lines=("all is well",)),
)
TENSORS = (m.Tensor("state", "<f4", (1, 3, 8, 8), 0),)


def test_messages_arrive_as_they_were() -> None:
    orders = (
        m.Open(3, Opening(path="/b", sha256="ab", cache="/c", profiles=(PROFILE,))),
        m.Close(3),
        m.Run(7, 3, "decode", 1, TENSORS, (0, 1), (2,), True),
        m.Trim(),
    )
    assert tuple(m.decode_order(m.encode(order)) for order in orders) == orders
    failure = m.Failure("EngineError", "a", "b", "c", "d")
    answers = (
        m.Hello(),
        m.OpenedModel(3, OPENED),
        m.NotOpened(3, failure),
        m.Closed(3),
        m.Trimmed(),
        m.Ran(7, 1, TENSORS, 2.5),
        m.Failed(7, failure),
    )
    assert tuple(m.decode_answer(m.encode(answer)) for answer in answers) == answers


@pytest.mark.parametrize(
    "answer",
    [
        m.Ran(7, -1, TENSORS, 2.5),
        m.Ran(7, 1, TENSORS, 0.0),
        m.Ran(7, 1, TENSORS, float("nan")),
        m.Ran(7, 1, TENSORS * 100, 2.5),
        m.Ran(7, 1, (m.Tensor("x", "<f4", (-1,), 0),), 2.5),
        m.Ran(7, 1, (m.Tensor("x", "<f4", (1,) * 9, 0),), 2.5),
        m.Failed(7, m.Failure("EngineError", "a" * 3000, "b", "c", "d")),
    ],
)
def test_values_out_of_bounds_are_refused(answer: m.Answer) -> None:
    with pytest.raises(LostError):
        m.decode_answer(m.encode(answer))


def test_an_order_is_no_answer() -> None:
    with pytest.raises(LostError):
        m.decode_answer(m.encode(m.Trim()))


def test_bytes_that_were_changed_are_refused_or_a_message() -> None:
    chance, data = random.Random(SEED), m.encode(m.Ran(7, 1, TENSORS, 2.5))
    refused = 0
    for _ in range(2000):
        wrong = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            wrong[chance.randrange(len(wrong))] = chance.randrange(256)
        try:
            m.decode_answer(bytes(wrong[: chance.randint(0, len(wrong))]))
        except LostError:
            refused += 1
    assert refused > 1000
