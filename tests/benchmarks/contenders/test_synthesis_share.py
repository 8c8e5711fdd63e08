"""What is counted as the network's is what its sessions take, and nothing else."""

from __future__ import annotations

import time

import numpy as np
import pytest
from contenders.synthesis_lqhq import schedule_name
from contenders.synthesis_share import WARM_UPS, TimedSession, timed_rounds

from lqhq.runtime import Restorer
from lqhq.runtime.session import Feed, Fetch

NAP = 0.02


class Sleeper:
    """A session whose every call takes `NAP` seconds."""

    largest, profiles = None, ()

    def __init__(self) -> None:
        self.calls, self.closed = 0, False

    def run(self, feed: Feed) -> Fetch:
        self.calls += 1
        time.sleep(NAP)
        return {"pred": np.zeros(1, np.float32)}

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Sleeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_the_networks_time_is_told_from_the_rest() -> None:
    """Two calls and one nap outside: a third is not the network's. Its planted fault is a session that is not timed."""
    inner = Sleeper()
    with TimedSession(inner) as session:

        def run() -> None:
            session.run({})
            session.run({})
            time.sleep(NAP)

        times = timed_rounds(run, [session], 2)
        assert timed_rounds(lambda: inner.run({}), [session], 1).network == [0.0]
    assert inner.closed
    assert (times.calls, len(times.whole), len(times.network)) == (2, 2, 2)
    assert inner.calls == 2 * (WARM_UPS + 2) + WARM_UPS + 1
    for whole, network in zip(times.whole, times.network, strict=True):
        assert 2 * NAP <= network <= whole - NAP


def test_a_bundle_that_is_for_something_else_is_refused() -> None:
    with Restorer.open("demo", threads=1) as restorer, pytest.raises(SystemExit, match="no schedule of 2 calls"):
        schedule_name(restorer, 2, 32)
