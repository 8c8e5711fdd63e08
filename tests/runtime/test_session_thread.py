"""Calls in a thread: their order, their errors, and what a Ctrl-C at any moment leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest

from lqhq.runtime.errors import EngineError
from lqhq.runtime.session import Fetch
from lqhq.runtime.session_thread import SessionThread

# Interrupts come after 0 to 0.4 ms, while ten calls are given and taken. A lock that one leaves taken is a hang.
STORM = """
import random, signal
from lqhq.runtime.session_thread import SessionThread

draw, caught = random.Random(5), 0
for _ in range(1500):
    try:
        try:
            with SessionThread() as thread:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-6, 4e-4))
                for number in range(10):
                    thread.submit(dict)
                    thread.result()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        caught += 1
print(caught)
"""


def told(value: float) -> Fetch:
    return {"y": np.float32([value])}


def test_results_come_in_the_order_of_the_calls() -> None:
    with SessionThread() as thread:
        for value in range(5):
            thread.submit(partial(told, value))
        assert [float(thread.result()["y"][0]) for _ in range(5)] == [0, 1, 2, 3, 4]


def test_an_error_is_raised_where_its_result_is_taken() -> None:
    def fails() -> Fetch:
        raise EngineError("engine", found="a fault", expected="none", mend="None.")

    with SessionThread() as thread:
        thread.submit(fails)
        thread.submit(partial(told, 7))
        with pytest.raises(EngineError, match="a fault"):
            thread.result()
        assert thread.result()["y"] == [7]


def test_what_waits_at_the_end_is_not_run() -> None:
    begun, go, ran = threading.Event(), threading.Event(), list[int]()

    def first() -> Fetch:
        begun.set()
        go.wait(5)
        ran.append(1)
        return {}

    def second() -> Fetch:
        ran.append(2)
        return {}

    with SessionThread() as thread:
        thread.submit(first)
        thread.submit(second)
        begun.wait(5)
        threading.Timer(0.05, go.set).start()
    assert ran == [1]


def test_an_interrupt_at_any_moment_leaves_nothing_locked() -> None:
    code = "import signal\nsignal.signal(signal.SIGALRM, signal.default_int_handler)\n" + STORM
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 100
