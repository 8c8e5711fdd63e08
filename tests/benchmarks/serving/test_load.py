"""Every request is asked once; latency counts from where it should; what goes wrong comes out."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from serving.load import closed_loop, open_loop, poisson_arrivals

SEED = 20_261_203


class Stub:
    """A server that sleeps, with as many places as it is given."""

    def __init__(self, seconds: float = 0.0, places: int = 100, broken: int | None = None) -> None:
        self._seconds, self._places, self._broken = seconds, threading.Semaphore(places), broken
        self.asked, self.open, self.most = Counter[int](), 0, 0
        self._lock = threading.Lock()

    def connect(self) -> Stub:
        return self

    def call(self, index: int) -> bytes:
        with self._lock:
            self.asked[index] += 1
            self.open += 1
            self.most = max(self.most, self.open)
        with self._places:
            time.sleep(self._seconds)
        with self._lock:
            self.open -= 1
        if index == self._broken:
            raise ConnectionError("no")
        return b""

    def close(self) -> None:
        pass


def test_a_closed_loop_asks_everything_once_and_no_more_at_a_time_than_it_has_clients() -> None:
    stub = Stub(seconds=0.01)
    sample = closed_loop(stub.connect, [3, 1, 4, 1, 5, 9], clients=3)
    assert stub.asked == Counter([3, 1, 4, 1, 5, 9])
    assert stub.most == 3
    assert len(sample.latencies) == 6
    assert all(latency >= 0.01 for latency in sample.latencies)
    assert sample.throughput == pytest.approx(6 / sample.seconds)
    assert sample.seconds < 6 * 0.01 + 1.0


def test_in_an_open_loop_a_wait_for_the_server_counts() -> None:
    """One place, two at once: the second waits for the first. Measured from when it was sent, it would not show."""
    stub = Stub(seconds=0.1, places=1)
    latencies = open_loop(stub.connect, [0, 1], [0.0, 0.0], clients=2).latencies
    assert max(latencies) >= 0.2
    latencies = open_loop(Stub(seconds=0.1, places=1).connect, [0, 1], [0.0, 0.0], clients=1).latencies
    assert max(latencies) >= 0.2, "a wait for a free connection counts, too"


def test_arrivals_keep_their_time() -> None:
    sample = open_loop(Stub().connect, [0, 1, 2], [0.0, 0.05, 0.3], clients=3)
    assert sample.seconds >= 0.3
    assert max(sample.latencies) < 0.25, "the time before its arrival is not a request's latency"


def test_an_error_ends_the_loop_and_comes_out() -> None:
    with pytest.raises(ConnectionError, match="no"):
        closed_loop(Stub(broken=1).connect, [0, 1, 0, 0], clients=2)


def test_poisson_arrivals_come_from_the_seed_at_their_rate() -> None:
    arrivals = poisson_arrivals(50.0, 4000, SEED)
    assert arrivals == poisson_arrivals(50.0, 4000, SEED)
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] == pytest.approx(80.0, rel=0.1)
