"""Workers that never come up, say what cannot be, hang, or die again and again: the server stays, and says so."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from lqhq.runtime.errors import EngineError
from lqhq.server.batching.batch_key import Model
from lqhq.server.dispatch.catalogue import Catalogue
from lqhq.server.dispatch.crew import Crew
from lqhq.server.dispatch.patience import Patience
from lqhq.server.dispatch.seat import Seat
from lqhq.server.workers import messages as m
from lqhq.server.workers.packets import Line
from lqhq.server.workers.start import Start, start_worker

MODEL = Model("one", "1.1", "fp32", "onnx")
HELLO = m.encode(m.Hello())
SAY = "import os, sys, time; out = int(sys.argv[1]); "


def script(*lines: str) -> Start:
    """Starts a process that runs `lines`, with `say(bytes)`, and loads nothing else: it is there at once."""
    text = SAY + "say = lambda data: os.write(out, data)\n" + "\n".join(lines)

    def start(orders: Line, answers: Line) -> subprocess.Popen[bytes]:
        ends = (answers.socket.fileno(), orders.socket.fileno())
        command = [sys.executable, "-I", "-S", "-c", text, *map(str, ends)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, pass_fds=ends)

    return start


SILENT = script("time.sleep(60)")
RUBBISH = script("say(b'rubbish')", "time.sleep(60)")
UNASKED = script(f"say({HELLO!r})", f"say({m.encode(m.Closed(3))!r})", "time.sleep(60)")
TWICE = script(f"say({HELLO!r})", f"say({HELLO!r})", "time.sleep(60)")
BATCHES = script(f"say({HELLO!r})", f"say({m.encode(m.Ran(5, 0, (), 1.0))!r})", "time.sleep(60)")
DYING = script("print('no such device')", "sys.exit(3)")
HUNG = script(f"say({HELLO!r})", "time.sleep(60)")


def test_a_worker_that_dies_at_once_is_started_again_less_and_less_often(new_house: Any, opening: Any) -> None:
    house = new_house(start=DYING, again_s=0.02, most_again_s=0.08)
    loading = house.dispatcher.load(MODEL, m.Opening(path="/b", sha256=""))
    error = loading.exception(30)  # nobody waits for ever
    assert isinstance(error, EngineError)
    assert "it ended" in str(error)
    house.until(lambda: house.notes.said("worker lost") >= 6)
    assert not house.dispatcher.ready
    waits = [fields["again_s"] for event, fields in house.notes.lines if event == "worker lost"][:6]
    assert waits == pytest.approx([0, 0.02, 0.04, 0.08, 0.08, 0.08])
    assert ("worker says", {"device": "cpu", "line": "no such device"}) in house.notes.lines
    assert ("worker ended", {"device": "cpu", "how": "ended with code 3"}) in house.notes.lines


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (SILENT, "no answer in time: starting"),
        (RUBBISH, "an answer that cannot be"),
        (UNASKED, "nobody asked for"),
        (TWICE, "nobody asked for"),
        (BATCHES, "which it has not"),
    ],
    ids=["silent", "rubbish", "unasked", "twice", "batches"],
)
def test_a_worker_that_does_not_do_what_it_should_is_replaced(new_house: Any, start: Start, reason: str) -> None:
    house = new_house(start=start, start_s=0.2, again_s=0.01)
    house.until(lambda: len(house.notes.lost) >= 2)
    assert reason in house.notes.lost[0]
    assert len(house.dispatcher.pids) <= 1


def test_a_load_that_hangs_ends_the_worker_and_not_the_server(new_house: Any) -> None:
    house = new_house(start=HUNG, open_s=0.1)
    house.until(lambda: house.dispatcher.ready)
    loading = house.dispatcher.load(MODEL, m.Opening(path="/b", sha256=""))
    assert "lost while it opened" in str(loading.exception(30))
    assert house.notes.lost == ["no answer in time: open a model"]
    house.until(lambda: house.dispatcher.ready)  # the next one is not asked to open it
    assert house.dispatcher.pending == 0


def test_no_process_to_be_had(new_house: Any) -> None:
    def full(orders: Line, answers: Line) -> Any:
        raise OSError(11, "no more processes")

    house = new_house(start=full, most_again_s=0.05)
    loading = house.dispatcher.load(MODEL, m.Opening(path="/b", sha256=""))
    assert "no more processes" in str(loading.exception(30))
    house.until(lambda: house.notes.said("worker not started") >= 2)


def test_a_real_worker_that_hangs_in_a_batch_is_replaced(
    tiny_bundle: Any, new_house: Any, served: Any, tmp_path: Any
) -> None:
    import os
    import signal

    import numpy as np

    house = new_house(start=start_worker, run_s=0.3)
    model = served(tiny_bundle(), inside=house)
    (pid,) = house.dispatcher.pids
    os.kill(pid, signal.SIGSTOP)
    asked = model.ask(np.zeros((16, 16, 3), np.uint8))
    assert asked.result().shape == (16, 16, 3)
    assert house.notes.lost == ["no answer in time: running a batch"]


class Deaf:
    """A listener and a process of nothing."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def log(self, event: str, /, **fields: Any) -> None:
        self.notes.append(event)

    def worker_lost(self, device: str, reason: str) -> None: ...

    def worker_ready(self, device: str) -> None: ...


def test_who_worked_is_replaced_at_once() -> None:
    seat, deaf = Seat("cpu", "cpu"), Deaf()
    patience = Patience()
    crew = Crew(
        (seat,),
        Catalogue((seat,)),
        start=SILENT,
        patience=patience,
        observer=deaf,  # type: ignore[arg-type]
        log=deaf.log,
        came=lambda *_: None,
        gone=lambda *_: None,
        broken=lambda _: None,
    )

    def waits(*, lived_s: float, proven: bool) -> float:
        now_ms = time.monotonic() * 1e3
        seat.started_ms, seat.proven = now_ms - lived_s * 1e3, proven
        crew.lost(seat, "test", now_ms)
        return (seat.again_ms - now_ms) / 1e3

    assert [waits(lived_s=1, proven=False) for _ in range(3)] == pytest.approx([0, 0.25, 0.5])
    assert waits(lived_s=1, proven=True) == 0
    assert [waits(lived_s=1, proven=False) for _ in range(20)][-1] == pytest.approx(patience.most_again_s)
    assert waits(lived_s=31, proven=False) == 0
