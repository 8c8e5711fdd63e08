"""Lines, and processes that do nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from lqhq.server.workers.packets import Line, line_pair
from lqhq.server.workers.worker import Worker


@pytest.fixture
def lines() -> Iterator[tuple[Line, Line]]:
    one, other = line_pair()
    yield one, other
    one.close()
    other.close()


@pytest.fixture
def sleeper() -> Iterator[Worker]:
    """A worker that reads nothing and says nothing."""
    worker = Worker(lambda *_: subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE, bufsize=0))
    yield worker
    worker.process.kill()
    worker.process.wait()
    worker.output.close()
    for line in (worker.answers, worker._orders, worker._unread):
        line.close()
