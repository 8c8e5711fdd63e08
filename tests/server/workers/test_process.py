"""The worker's side, in a thread of this process: what it answers, and that nothing but the end of its line ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.errors import EngineError
from lqhq.runtime.session_pool import SessionPool
from lqhq.server.workers import messages as m
from lqhq.server.workers import process
from lqhq.server.workers.loading import LoadedModel
from lqhq.server.workers.opening import Opened, Opening
from lqhq.server.workers.packets import Line, LostError, line_pair
from lqhq.server.workers.process import Server
from lqhq.server.workers.sheets import SheetReader, SheetWriter

OPENING = Opening(path="/bundle", sha256="")
OPENED = Opened(shapes=EngineShapes(), engine_version="1", precision="fp32", device="cpu", seconds=0.5, checked=None)


class Session:
    """Doubles `x`, or does what it is told."""

    largest, profiles = None, ()

    def __init__(self, run: Callable[[Any], Any] = lambda feed: {"y": feed["x"] * 2}) -> None:
        self.run, self.closed = run, False

    def close(self) -> None:
        self.closed = True


class Desk:
    """The front process's side of one worker."""

    def __init__(self, orders: Line, answers: Line) -> None:
        self.orders, self.answers = orders, answers
        self.feeds, self.fetches = SheetWriter(), SheetReader()

    def say(self, order: m.Order, files: tuple[int, ...] = ()) -> None:
        self.orders.send(m.encode(order), files, wait=True)

    def hear(self) -> m.Answer:
        packet = self.answers.receive(wait=True)
        assert packet is not None
        answer = m.decode_answer(packet.data)
        if isinstance(answer, m.Ran):
            self.fetches.take(answer.place, packet.files)
        for file in packet.files:
            os.close(file)
        return answer

    def run(self, number: int, x: Any, role: str = "double", **fields: Any) -> m.Answer:
        written = self.feeds.write({"x": np.asarray(x, np.float32)})
        self.say(m.Run(number, 1, role, *written, **fields), self.feeds.files(written.place))
        self.feeds.sent(written.place)
        answer = self.hear()
        self.feeds.free(written.place)
        return answer


@pytest.fixture
def desk() -> Iterator[Desk]:
    (orders, its_orders), (answers, its_answers) = line_pair(), line_pair()

    def serve() -> None:
        with suppress(LostError):
            Server(its_orders, its_answers).serve()

    thread = threading.Thread(target=serve)
    thread.start()
    desk = Desk(orders, answers)
    assert desk.hear() == m.Hello()
    yield desk
    orders.close()
    thread.join(10)
    assert not thread.is_alive()
    for line in (answers, its_orders, its_answers):
        line.close()


def opened(monkeypatch: pytest.MonkeyPatch, desk: Desk, sessions: Any) -> None:
    monkeypatch.setattr(process, "open_model", lambda opening: LoadedModel(sessions, OPENED))
    desk.say(m.Open(1, OPENING))
    assert desk.hear() == m.OpenedModel(1, OPENED)


def test_batches_run_and_places_go_round(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, desk, {"double": Session()})
    first = desk.run(1, [[1, 2, 3]])
    assert isinstance(first, m.Ran)
    second = desk.run(2, [[4]])
    assert isinstance(second, m.Ran)
    assert first.place != second.place
    third = desk.run(3, [[5]], free=(first.place,))
    assert isinstance(third, m.Ran)
    assert third.place == first.place
    assert desk.fetches.arrays(second.place, second.tensors)["y"].tolist() == [[8]]
    found = desk.fetches.arrays(third.place, third.tensors)["y"]
    fourth = desk.run(4, [[6]], free=(second.place,), kept=(third.place,))
    fifth = desk.run(5, [[7]])
    assert isinstance(fourth, m.Ran)
    assert isinstance(fifth, m.Ran)
    assert {fourth.place, fifth.place} == {second.place, third.place}
    assert found.tolist() == [[10]]  # it was kept: had its place been written again, it would be another number


def raising(error: BaseException) -> Callable[[Any], Any]:
    def run(feed: Any) -> Any:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "kind", "text"),
    [
        (raising(EngineError("double", found="a", expected="b", mend="c")), "EngineError", "a"),
        (raising(MemoryError("all gone")), "MemoryError", "all gone"),
        (raising(ZeroDivisionError("zero")), "EngineError", "ZeroDivisionError: zero"),
        (lambda feed: {"y": object()}, "EngineError", "AttributeError"),
    ],
)
def test_an_engine_that_fails_does_not_end_the_worker(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, run: Callable[[Any], Any], kind: str, text: str
) -> None:
    opened(monkeypatch, desk, {"double": Session(), "bad": Session(run)})
    answer = desk.run(1, [[1]], "bad")
    assert isinstance(answer, m.Failed)
    assert answer.failure.kind == kind
    assert text in answer.failure.found
    unknown = desk.run(2, [[1]], "none")
    assert isinstance(unknown, m.Failed)
    assert isinstance(desk.run(3, [[1]]), m.Ran)


def test_a_bundle_that_cannot_be_opened_does_not_end_the_worker(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "open_model", raising(OSError("no such folder")))
    desk.say(m.Open(1, OPENING))
    answer = desk.hear()
    assert isinstance(answer, m.NotOpened)
    assert "no such folder" in answer.failure.found
    opened(monkeypatch, desk, {"double": Session()})


def test_batches_run_while_a_bundle_is_opened(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, desk, {"double": Session()})
    go = threading.Event()

    def slow(opening: Opening) -> LoadedModel:
        assert go.wait(10)
        return LoadedModel({}, OPENED)

    monkeypatch.setattr(process, "open_model", slow)
    desk.say(m.Open(2, OPENING))
    assert isinstance(desk.run(1, [[1]]), m.Ran)
    go.set()
    assert desk.hear() == m.OpenedModel(2, OPENED)


def test_a_model_is_closed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    opened(monkeypatch, desk, {"double": session})
    for _ in range(2):
        desk.say(m.Close(1))
        assert desk.hear() == m.Closed(1)
    assert session.closed
    assert isinstance(desk.run(1, [[1]]), m.Failed)


def test_a_pool_holds_what_the_batch_says(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = SessionPool(("double", "other"), lambda name: Session())  # type: ignore[arg-type,return-value]
    opened(monkeypatch, desk, pool)
    for number, (alone, open_after) in enumerate([(False, 1), (False, 2), (True, 1), (False, 2)]):
        assert isinstance(desk.run(number, [[1]], ("double", "other")[number % 2], alone=alone), m.Ran)
        assert len(pool.opened) == open_after


def test_sheets_are_forgotten_when_they_are_to_be(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, desk, {"double": Session()})
    desk.run(1, np.zeros((1, 1 << 20)))
    desk.say(m.Trim())
    assert desk.hear() == m.Trimmed()
    desk.feeds.clear()
    desk.fetches.clear()
    answer = desk.run(2, [[3]])
    assert isinstance(answer, m.Ran)
    assert desk.fetches.arrays(answer.place, answer.tensors)["y"].tolist() == [[6]]


def test_the_process_outlives_signals_but_not_its_parent() -> None:
    """A parent of its own starts a worker, says its pid, and is killed; what is left of the worker is looked for."""
    script = (
        "import time; from lqhq.server.workers.worker import Worker; w = Worker()\n"
        "while w.receive() is None: time.sleep(0.01)\n"
        "print(w.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker, number)
        time.sleep(0.05)
        assert state(worker) in "RSD"
    finally:
        parent.kill()
        parent.communicate()
    limit = time.monotonic() + 10
    while state(worker) not in "XZ":
        assert time.monotonic() < limit
        time.sleep(0.01)


def state(pid: int) -> str:
    """The letter of proc(5); X where there is none, and Z for one that nobody has buried yet."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
