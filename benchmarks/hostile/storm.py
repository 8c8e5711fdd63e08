"""The storm: attacks and good requests in a random order from one seed, from several threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import numpy as np

from hostile import calls, sockets, streams
from hostile.target import Target, ask
from hostile.verdict import FaultError

__all__ = ["ATTACKS", "Tally", "storm"]

Attack = Callable[[Target, np.random.Generator], str]
# Of 100 requests about so many; the rest are good ones, which must be answered right all the time.
ATTACKS: dict[Attack, int] = {
    calls.wrong_infer: 14,
    calls.wrong_restore: 10,
    calls.broken_image: 6,
    calls.flipped_bytes: 10,
    calls.oversized: 1,
    calls.late: 8,
    calls.cancelled: 8,
    streams.broken_upload: 8,
    streams.half_closed_upload: 4,
    streams.cancelled_upload: 6,
    streams.slow_upload: 1,
    streams.slow_reader: 1,
    streams.mixed_stream: 4,
    sockets.foreign_bytes: 3,
    sockets.silent_connection: 1,
}
GOOD = "good request"
MOST_FAULTS = 20  # then the rest is not asked


@dataclass(slots=True)
class Tally:
    """What came of each kind of request, how often good ones were asked to come again, and the server's faults."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many have ended."""
        return sum(self.outcomes.values())

    @property
    def answered(self) -> int:
        """Good requests that were answered right."""
        return self.outcomes[GOOD, "OK"]


def storm(target: Target, count: int, seed: int, threads: int, tally: Tally) -> None:
    """`count` requests, counted in `tally` as they end.

    What request k is depends on `seed` and k alone; when it comes does not.
    """
    lock = threading.Lock()
    kinds = list(ATTACKS)
    shares = np.array([*ATTACKS.values(), 100 - sum(ATTACKS.values())]) / 100

    def one(at: int) -> None:
        if len(tally.faults) >= MOST_FAULTS:
            return
        draw = np.random.default_rng([seed, at])
        kind = int(draw.choice(len(shares), p=shares))
        name = kinds[kind].__name__ if kind < len(kinds) else GOOD
        again, fault = 0, None
        try:
            outcome, again = (kinds[kind](target, draw), 0) if kind < len(kinds) else _good(target, draw)
        except (FaultError, OSError, grpc.RpcError) as error:
            outcome, fault = "FAULT", f"request {at}, {name}: {type(error).__name__}: {error}"
        with lock:
            tally.outcomes[name, outcome] += 1
            tally.refused += again
            if fault:
                tally.faults.append(fault)

    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(one, range(count)):
            assert done is None


def _good(target: Target, draw: np.random.Generator) -> tuple[str, int]:
    with target.channel() as channel:
        return "OK", ask(channel, target.good[int(draw.integers(len(target.good)))])
