"""Workers. Jobs are expressions that `eval` works on: what travels to a process must be importable there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from functools import partial

import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import EngineError
from lqhq.runtime.synthesis import workers
from lqhq.runtime.synthesis.workers import default_workers, in_order

EVALUATES = partial(nullcontext, eval)


@pytest.mark.parametrize("count", [1, 2])
def test_results_have_the_order_of_the_jobs(count):
    jobs = ["__import__('time').sleep(0.2) or 0", *map(str, range(1, 20))]
    taken = []

    def given():
        for job in jobs:
            taken.append(job)
            yield job

    with closing(in_order(given(), EVALUATES, count)) as results:
        assert next(results) == 0
        assert len(taken) <= 1 + workers.AHEAD * count  # no more than are on their way
        assert list(results) == list(range(1, 20))


def test_no_jobs():
    assert list(in_order([], EVALUATES, 1)) == []


def test_two_processes_work_and_die_with_the_iterator():
    jobs = ["__import__('os').getpid()"] * 12 + ["__import__('time').sleep(60)"]
    with closing(in_order(jobs, EVALUATES, 2)) as results:
        pids = {next(results) for _ in range(12)}
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_no_worker_hears_ctrl_c():
    """In a process of its own: the first worker of a process is started while multiprocessing starts its tracker."""
    code = (
        "from contextlib import nullcontext; from functools import partial\n"
        "from lqhq.runtime.synthesis.workers import in_order\n"
        "if __name__ == '__main__':\n"
        '    job = \'(__import__("os").getpid(), 2 in __import__("signal").pthread_sigmask(0, []))\'\n'
        "    slow = f'(__import__(\"time\").sleep(0.05), {job})[1]'\n"
        "    print(sorted({deaf for _, deaf in in_order([slow] * 8, partial(nullcontext, eval), 2)}))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "[True]\n", ran.stderr


def test_a_worker_that_dies_is_told():
    with pytest.raises(EngineError, match=r"ended with code 7.*--workers"):
        list(in_order(["1", "__import__('os')._exit(7)", "2"], EVALUATES, 2))


def test_a_worker_that_cannot_open_says_why():
    with pytest.raises(EngineError, match="nothing there"):
        list(in_order(["1"], partial(open_bundle, "/nowhere/bundle"), 2))


def test_workers_end_when_the_one_that_started_them_is_killed():
    code = (
        "import os, sys, time; from contextlib import nullcontext; from functools import partial\n"
        "from lqhq.runtime.synthesis.workers import in_order\n"
        "if __name__ == '__main__':\n"
        "    results = in_order(['__import__(\"os\").getpid()'] * 9, partial(nullcontext, eval), 2)\n"
        "    print(next(results), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        worker = int(child.stdout.readline())
        child.kill()
    end = time.monotonic() + 10
    while time.monotonic() < end and os.path.exists(f"/proc/{worker}"):
        with open(f"/proc/{worker}/stat") as stat:
            if stat.read().split(") ")[1][0] == "Z":
                return
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{worker}")


@pytest.mark.parametrize(
    ("cores", "free", "threads", "expected"),
    [(8, 10**12, 1, 8), (8, 10**12, 3, 2), (2, 10**12, 4, 1), (8, 9, 1, 3), (8, 2, 1, 1)],
)
def test_as_many_as_there_is_room_for(monkeypatch, cores, free, threads, expected):
    monkeypatch.setattr(workers, "cpu_count", lambda: cores)
    monkeypatch.setattr(workers, "default_budget", lambda: free)
    assert default_workers(threads=threads, memory=3) == expected
