"""Closed and open loops: so many clients that each wait for their answer, or arrivals that wait for nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Caller", "Connect", "Sample", "closed_loop", "open_loop", "poisson_arrivals"]

JOIN_S = 900.0  # a call that hangs this long ends the run


class Caller(Protocol):
    """One connection of one client."""

    def call(self, index: int) -> bytes:
        """The reply's message to request `index`, as it came. Raises what its client library raises."""
        ...

    def close(self) -> None: ...


Connect = Callable[[], Caller]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Seconds of each answered request, in the order of the requests, and of all of them together."""

    latencies: list[float]
    seconds: float

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds


def poisson_arrivals(rate: float, count: int, seed: int) -> list[float]:
    """Seconds from the start of `count` arrivals: exponential gaps with mean 1 / rate."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, count)
    return [float(at) for at in np.cumsum(gaps)]


def closed_loop(connect: Connect, order: Sequence[int], clients: int) -> Sample:
    """`clients` connections share the requests `order`; each sends its next one when it has its answer.

    Connections are made before the clock starts. An error of a call ends the loop and comes out here.
    """
    return _run(connect, order, [0.0] * len(order), clients, paced=False)


def open_loop(connect: Connect, order: Sequence[int], arrivals: Sequence[float], clients: int) -> Sample:
    """Request `order[k]` arrives `arrivals[k]` seconds after the start, whatever has been answered until then.

    Its latency counts from its arrival. At most `clients` are under way: with fewer free connections than arrivals
    a request waits here, and that wait counts, since nothing else would be open.
    """
    return _run(connect, order, arrivals, clients, paced=True)


def _run(connect: Connect, order: Sequence[int], arrivals: Sequence[float], clients: int, *, paced: bool) -> Sample:
    callers = [connect() for _ in range(clients)]
    latencies, errors = [0.0] * len(order), list[BaseException]()
    places, start = iter(range(len(order))), threading.Barrier(clients + 1)
    lock, begun = threading.Lock(), list[float]()

    def client(caller: Caller) -> None:
        start.wait()
        for place in _shared(places, lock):
            if errors:
                return
            if paced:
                time.sleep(max(0.0, begun[0] + arrivals[place] - time.perf_counter()))
                sent = begun[0] + arrivals[place]
            else:
                sent = time.perf_counter()
            try:
                caller.call(order[place])
            except Exception as error:  # noqa: BLE001 -- handed to the caller of the loop below
                errors.append(error)
                return
            latencies[place] = time.perf_counter() - sent

    threads = [threading.Thread(target=client, args=(caller,), daemon=True) for caller in callers]
    for thread in threads:
        thread.start()
    begun.append(time.perf_counter())
    start.wait()
    for thread in threads:
        thread.join(JOIN_S)
        if thread.is_alive():
            raise TimeoutError(f"a call has hung for {JOIN_S:g} s")
    seconds = time.perf_counter() - begun[0]
    for caller in callers:
        caller.close()
    if errors:
        raise errors[0]
    return Sample(latencies=latencies, seconds=seconds)


def _shared(places: Iterator[int], lock: threading.Lock) -> Iterator[int]:
    """The places that this thread gets of those that all threads share."""
    while True:
        with lock:
            place = next(places, None)
        if place is None:
            return
        yield place
