"""The front process's side of a worker that reads nothing: what was sent can be taken back, and sent again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lqhq.server.workers import messages as m
from lqhq.server.workers.packets import Line, LostError
from lqhq.server.workers.sheets import SheetReader
from lqhq.server.workers.worker import Worker

FEED = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}


def sent(worker: Worker, number: int) -> None:
    worker.run(number, 1, "double", worker.write(FEED), alone=False)


def read(worker: Worker, sheets: SheetReader) -> m.Order:
    """What the process itself would read."""
    packet = worker._unread.receive(wait=False)
    assert packet is not None
    order = m.decode_order(packet.data)
    if isinstance(order, m.Run):
        sheets.take(order.place, packet.files)
        np.testing.assert_array_equal(sheets.arrays(order.place, order.tensors)["x"], FEED["x"])
    for file in packet.files:
        os.close(file)
    return order


def test_what_was_not_begun_comes_back_and_goes_out_again(
    sleeper: Worker, open_files: Callable[[], frozenset[Any]]
) -> None:
    sheets, before = SheetReader(), open_files()
    written = sleeper.write(FEED)
    sleeper.run(1, 1, "double", written, alone=False)
    sent(sleeper, 2)
    sleeper.order(m.Close(9))
    assert sleeper.withdraw() == [1, 2]
    assert read(sleeper, sheets) == m.Close(9)  # an order stays
    sleeper.run(3, 1, "double", written, alone=True)  # the same feed, with the sheet that nobody has seen
    order = read(sleeper, sheets)
    assert isinstance(order, m.Run)
    assert (order.number, order.alone) == (3, True)
    assert sleeper.withdraw() == []
    sleeper.spare(written)
    sent(sleeper, 4)
    assert isinstance(read(sleeper, sheets), m.Run)  # in the same place: its sheet is known
    sleeper._feeds.clear()
    sheets.clear()
    assert not open_files() - before


def test_what_is_said_of_places_is_not_lost_with_a_message(sleeper: Worker) -> None:
    sleeper._free, sleeper._kept = [0], [1]
    sent(sleeper, 1)
    assert (sleeper._free, sleeper._kept) == ([], [])
    assert sleeper.withdraw() == [1]
    assert (sleeper._free, sleeper._kept) == ([0], [1])


def test_nothing_is_taken_back_behind_a_trim(sleeper: Worker) -> None:
    sent(sleeper, 1)
    assert sleeper.withdraw() == [1]
    sleeper.trim()
    assert sleeper.held_bytes == 0
    sent(sleeper, 2)
    assert sleeper.withdraw() == []  # the worker would forget what batch 2 was answered with


def test_a_worker_that_reads_nothing_is_lost(sleeper: Worker) -> None:
    def order_much() -> None:
        for _ in range(10_000):
            sleeper.order(m.Close(1))

    with pytest.raises(LostError):
        order_much()


def test_a_killed_worker_leaves_what_it_had_not_begun(sleeper: Worker) -> None:
    sent(sleeper, 1)
    sent(sleeper, 2)
    assert isinstance(read(sleeper, SheetReader()), m.Run)
    assert sleeper.reap() is None
    assert sleeper.kill() == [2]
    assert sleeper.reap(10) == "killed by Killed"
    assert sleeper.held_bytes == 0


@pytest.mark.parametrize(
    "data",
    [b"rubbish", m.encode(m.Trim()), m.encode(m.Ran(1, 0, (m.Tensor("x", "<f4", (-1,), 0),), 1.0))],
    ids=["rubbish", "an order", "a length below nothing"],
)
def test_answers_that_cannot_be(sleeper: Worker, lines: tuple[Line, Line], data: bytes) -> None:
    mine, its = lines
    sleeper.answers.close()
    sleeper.answers = mine
    its.send(m.encode(m.Hello()), wait=False)
    assert sleeper.receive() == m.Hello()
    its.send(data, wait=False)
    with pytest.raises(LostError, match="cannot be"):
        sleeper.receive()


def test_outputs_that_are_not_there(sleeper: Worker, lines: tuple[Line, Line]) -> None:
    mine, its = lines
    sleeper.answers.close()
    sleeper.answers = mine
    its.send(m.encode(m.Ran(1, 0, (m.Tensor("x", "<f4", (1,), 0),), 1.0)), wait=False)
    ran = sleeper.receive()
    assert isinstance(ran, m.Ran)
    with pytest.raises(LostError, match="no sheet"):
        sleeper.fetched(ran)
