"""Which variant of a peer is the best at what is measured: each is started alone, warmed, and tried."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from serving.load import Sample, closed_loop
from serving.quantile import quantile
from serving.server_process import ServerError
from serving.services import Service, Variant

__all__ = ["best_variant"]

Start = Callable[[Variant], AbstractContextManager[Service]]


def best_variant(start: Start, variants: Sequence[Variant], *, clients: int, count: int) -> tuple[Variant, str]:
    """The variant with the lowest p50 for one client, else with the most answers a second; and what all reached.

    The first half of `count` warms up, and is not looked at. A variant that does not start is out, and said to be; an
    error only where none starts.
    """
    reached, words = dict[Variant, float](), list[str]()
    for variant in variants:
        print(f"trying {variant}", file=sys.stderr, flush=True)
        try:
            sample = _tried(start, variant, clients, count)
        except ServerError as error:
            print(error, file=sys.stderr, flush=True)
            words.append(f"{variant}: does not start")
            continue
        p50 = quantile(sample.latencies, 0.5)
        reached[variant] = -p50 if clients == 1 else sample.throughput
        words.append(f"{variant}: p50 {p50 * 1e3:.1f} ms, {sample.throughput:.1f} a second")
    if not reached:
        raise ServerError("; ".join(words))
    return max(reached, key=lambda variant: reached[variant]), "; ".join(words)


def _tried(start: Start, variant: Variant, clients: int, count: int) -> Sample:
    with start(variant) as service:
        closed_loop(service.connect, [0] * (count // 2), clients)
        return closed_loop(service.connect, [0] * (count - count // 2), clients)
