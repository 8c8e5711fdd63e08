"""Workers are killed while they work, and not before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hostile.killer import BETWEEN, Killer, settled, workers_of

PARENT = """
import subprocess, sys, time
worker = [sys.executable, "-c", "import time; time.sleep(60)", "lqhq.server.workers.process"]
other = [sys.executable, "-c", "import time; time.sleep(60)"]
subprocess.Popen(other)
while True:
    subprocess.Popen(worker).wait()
"""


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_workers_die_once_they_have_answered_and_nobody_else() -> None:
    answered = [0]
    with subprocess.Popen([sys.executable, "-c", PARENT], start_new_session=True) as parent:
        try:
            _until(lambda: len(workers_of(parent.pid)) == 1)
            [first] = workers_of(parent.pid)
            with Killer(parent.pid, 0.02, lambda: answered[0]) as killer:
                time.sleep(0.2)
                assert killer.killed == 0, "nothing was answered yet"
                answered[0] = BETWEEN
                _until(lambda: killer.killed == 1)
                _until(lambda: workers_of(parent.pid) not in ([], [first]))
                time.sleep(0.2)
                assert killer.killed == 1, "the second one has not answered"
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.parametrize(("readings", "found"), [([30, 20, 10, 5], 10), ([10], 10)])
def test_memory_settles(readings: list[int], found: int) -> None:
    assert settled(lambda: readings.pop(0), 12, 10) == found


def test_memory_that_stays_is_told() -> None:
    assert settled(lambda: 30, 12, 0.0) == 30
