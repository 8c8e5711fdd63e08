"""The thread sleeps until the time is over, the bell rings, or a worker has something to be read."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lqhq.server.batching.request import NEVER
from lqhq.server.dispatch.seat import Seat
from lqhq.server.dispatch.watch import Watch
from lqhq.server.workers.worker import Worker


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.close()


def test_it_sleeps_as_long_as_it_may(watch: Watch) -> None:
    began = time.monotonic()
    assert list(watch.wait(20.0)) == []
    assert time.monotonic() - began >= 0.02
    assert list(watch.wait(-5.0)) == []


def test_the_bell_wakes_once_however_often_it_rang(watch: Watch) -> None:
    for _ in range(3):
        watch.ring()
    assert list(watch.wait(NEVER)) == []
    began = time.monotonic()
    list(watch.wait(20.0))
    assert time.monotonic() - began >= 0.02
    threading.Timer(0.02, watch.ring).start()
    list(watch.wait(NEVER))


def test_workers_are_heard_until_they_are_dropped(watch: Watch, open_files: Callable[[], frozenset[Any]]) -> None:
    before = open_files()
    worker = Worker(
        lambda *_: subprocess.Popen(["sh", "-c", "echo here"], stdout=subprocess.PIPE, bufsize=0, close_fds=True)
    )
    seat = Seat("cpu", "cpu", worker=worker)
    watch.add(seat, worker)
    worker.process.wait()
    heard = set(watch.wait(NEVER))
    assert heard == {(seat, worker, False), (seat, worker, True)}  # it is gone, and has said something
    assert worker.output.read() == ["here"]
    watch.drop_answers(worker)
    watch.drop_output(worker)
    watch.drop_output(worker)
    assert list(watch.wait(0.0)) == []
    worker.kill()
    assert worker.reap() is not None
    worker.output.close()
    assert not open_files() - before
