"""What one version of a model has done since it was loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal, get_args

from lqhq.server.metrics.tally import Histogram, Spread, Tally
from lqhq.server.restoring.ask import Times
from lqhq.server.v2.statistics import BatchCounters, Counters

__all__ = ["REASONS", "ModelCounters", "Reason", "Snapshot"]

Reason = Literal["REJECTED", "CANCELED", "BACKEND", "OTHER"]
REASONS: tuple[Reason, ...] = get_args(Reason)  # Triton's words
REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds
BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All counters of a model at one moment. `open` requests have arrived and not ended."""

    counters: Counters
    failures: Mapping[Reason, int] = field(default_factory=dict)
    open: int
    tiles: int
    padding: int
    pixels: int
    requests: Histogram
    batches: Histogram
    load_s: float


class ModelCounters:
    """Safe to call from any thread. `epoch_ms` stands in for the wall clock in tests.

    Each `arrived` is followed by one `succeeded` or one `failed`.
    """

    def __init__(self, epoch_ms: Callable[[], float] = lambda: time.time() * 1000) -> None:
        self._epoch_ms = epoch_ms
        self._lock = Lock()
        self._success, self._fail = Tally(), Tally()
        self._stages = (Tally(), Tally(), Tally(), Tally())  # as in `Times`
        self._failures = dict.fromkeys(REASONS, 0)
        self._batches: dict[int, tuple[Tally, Tally, Tally]] = {}  # by tiles: in, run, out
        self._requests, self._sizes = Spread(REQUEST_BOUNDS), Spread(BATCH_BOUNDS)
        self._last_ms = self._open = self._tiles = self._padding = self._pixels = 0
        self._load_s = 0.0

    def loaded(self, seconds: float) -> None:
        """Opening and checking it took so long."""
        with self._lock:
            self._load_s = seconds

    def arrived(self) -> None:
        """A request for this model came."""
        with self._lock:
            self._last_ms = int(self._epoch_ms())
            self._open += 1

    def succeeded(self, times: Times, total_s: float) -> None:
        """It was answered, `total_s` after it arrived. Counts once in each stage, also where one took no time."""
        with self._lock:
            self._open -= 1
            self._success.add(total_s)
            self._requests.add(total_s)
            for tally, seconds in zip(self._stages, times, strict=True):
                tally.add(seconds)

    def failed(self, reason: Reason, total_s: float) -> None:
        """It ended without a result: refused, given up by its caller, by an engine, or by anything else."""
        with self._lock:
            self._open -= 1
            self._fail.add(total_s)
            self._failures[reason] += 1

    def batch(self, size: int, works: int, pixels: int, in_ms: float, run_ms: float, out_ms: float) -> None:
        """One call of a session: `works` tiles padded to `size` samples, `pixels` in all tiles together."""
        with self._lock:
            tallies = self._batches.setdefault(works, (Tally(), Tally(), Tally()))
            for tally, ms in zip(tallies, (in_ms, run_ms, out_ms), strict=True):
                tally.add(ms / 1000)
            self._sizes.add(works)
            self._tiles += works
            self._padding += size - works
            self._pixels += pixels

    def reading(self) -> Counters:
        """The counters as the V2 protocol knows them."""
        with self._lock:
            return self._counters()

    def snapshot(self) -> Snapshot:
        """All counters, at one moment."""
        with self._lock:
            return Snapshot(
                counters=self._counters(),
                failures=dict(self._failures),
                open=self._open,
                tiles=self._tiles,
                padding=self._padding,
                pixels=self._pixels,
                requests=self._requests.reading(),
                batches=self._sizes.reading(),
                load_s=self._load_s,
            )

    def _counters(self) -> Counters:
        decode, queue, run, encode = (tally.reading() for tally in self._stages)
        return Counters(
            success=self._success.reading(),
            fail=self._fail.reading(),
            queue=queue,
            compute_input=decode,
            compute_infer=run,
            compute_output=encode,
            images=self._success.count,
            executions=sum(run.count for _, run, _ in self._batches.values()),
            last_ms=self._last_ms,
            batches={
                works: BatchCounters(
                    compute_input=put.reading(), compute_infer=ran.reading(), compute_output=got.reading()
                )
                for works, (put, ran, got) in self._batches.items()
            },
        )
