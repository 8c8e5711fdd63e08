"""Contenders that stay up take turns, forwards and backwards, so that what slows the machine slows all of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from measuring.interval import Interval, median_interval

from serving.load import Sample
from serving.quantile import quantile

__all__ = ["added_ms", "latency_columns", "pooled", "take_turns", "throughput_ratio"]

T = TypeVar("T")
SETTLE = 0.3  # seconds between turns: what the last one left behind (closed connections, spinning threads) ends
MS = 1e3


def take_turns(turns: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """A B C, C B A, ...: what each gave in each round."""
    found: dict[str, list[T]] = {name: [] for name in turns}
    for at in range(rounds):
        print(f"round {at + 1} of {rounds}", file=sys.stderr, flush=True)
        for name in sorted(turns, key=list(turns).index, reverse=bool(at % 2)):
            time.sleep(SETTLE)
            found[name].append(turns[name]())
    return found


def pooled(samples: Sequence[Sample]) -> list[float]:
    """The latencies of all rounds."""
    return [latency for sample in samples for latency in sample.latencies]


def latency_columns(samples: Sequence[Sample]) -> tuple[str, str, str]:
    """p50, p95 and p99 in milliseconds, of all rounds together."""
    latencies = pooled(samples)
    p50, p95, p99 = (f"{quantile(latencies, share) * MS:.1f}" for share in (0.5, 0.95, 0.99))
    return p50, p95, p99


def added_ms(above: Sequence[Sample], below: Sequence[Sample], share: float = 0.5) -> Interval:
    """Median over rounds of the quantile of `above` less that of `below` in the same round, in milliseconds."""
    pairs = zip(above, below, strict=True)
    return median_interval([(quantile(a.latencies, share) - quantile(b.latencies, share)) * MS for a, b in pairs])


def throughput_ratio(above: Sequence[Sample], below: Sequence[Sample]) -> Interval:
    """Median over rounds of `above`'s answers a second for each of `below`'s: above 1 where `above` does more."""
    return median_interval([a.throughput / b.throughput for a, b in zip(above, below, strict=True)])
