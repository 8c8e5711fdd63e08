"""How long a batch that is not full may wait for more: as long as arrivals say that it will fill, and no longer."""

from __future__ import annotations

from typing import NamedTuple

from lqhq.server.batching.batch_key import BatchKey
from lqhq.server.batching.recent import Recent

__all__ = ["Window"]

GAIN = 1 / 8  # of a new gap in the mean, as RFC 6298 smooths round-trip times
# Of the mean time that the missing works take to come. With exponential gaps the last of m has come within twice its
# mean with a probability of 0.86 (m = 1) to 0.99 (m = 7); a longer wait gains little.
SLACK = 2.0


class _Arrivals(NamedTuple):
    """When works came last, and the mean gap between works in ms; None before the second time."""

    last_ms: float
    gap_ms: float | None


class Window:
    """Adapts to load, key by key; never more than `most_ms`."""

    def __init__(self, most_ms: float) -> None:
        if most_ms < 0:
            raise ValueError(f"most_ms: found {most_ms}; expected 0 or more")
        self._most_ms = most_ms
        self._arrivals = Recent[BatchKey, _Arrivals]()

    def arrived(self, key: BatchKey, works: int, now_ms: float) -> None:
        """`works` of `key` became ready at once. They count as that many gaps: bursts must not look like a stream."""
        before = self._arrivals.get(key)
        if before is None:
            self._arrivals.put(key, _Arrivals(now_ms, None))
            return
        gap = (now_ms - before.last_ms) / works
        mean = gap if before.gap_ms is None else before.gap_ms + GAIN * (gap - before.gap_ms)
        self._arrivals.put(key, _Arrivals(now_ms, mean))

    def wait_ms(self, key: BatchKey, missing: int, now_ms: float) -> float:
        """How long a batch may wait, from when its oldest work became ready; 0 where `missing` works will not come.

        Silence since the last arrival counts as a gap: a stream that stopped is not waited for.
        """
        seen = self._arrivals.get(key)
        if seen is None or seen.gap_ms is None:
            return 0.0
        needed = missing * max(seen.gap_ms, now_ms - seen.last_ms)
        return min(self._most_ms, SLACK * needed) if needed <= self._most_ms else 0.0
