"""What will still be held later, if nothing more is let in: how workers share themselves among requests.

Service is strict between levels and fair within one (`batching.fair_order`), so requests of a level run side by side at
equal speed: processor sharing (Kleinrock, "Time-shared Systems: A Theoretical Treatment", Journal of the ACM 14(2),
1967). Those with r_1 <= r_2 <= ... ms of work left on one worker have had s ms of it each after sum_j min(r_j, s), and
the k-th ends after sum_j min(r_j, r_k); `workers` together are as many times as fast. Requests that a worker cannot
share, and what files take to be written, come on top: no time here is a promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lqhq.server.admission.reservation import Held

__all__ = ["Moment", "Sharing"]

Array = NDArray[np.float64]
CLOSE_MS, CLOSE = 1.0, 0.02  # or a part of the time: nobody comes back more exactly, and refusing is to be cheap


class Moment(NamedTuple):
    """What is held: requests, works that are not done, bytes; and the ms that a request of ours would wait for it."""

    requests: int
    works: float
    bytes: int
    wait_ms: float


class Sharing:
    """`held` from now on, as a request of `own_ms` and `level` sees it. Cheap until `first_ms` is asked."""

    def __init__(self, held: Held, *, own_ms: float, level: int, workers: int) -> None:
        self._held, self._own_ms, self._level, self._workers = held, own_ms, level, workers

    @property
    def now(self) -> Moment:
        held = self._held
        return Moment(len(held), held.works, held.bytes, held.wait_ms(self._own_ms, self._level) / self._workers)

    def first_ms(self, fits: Callable[[Moment], bool]) -> float:
        """In how many ms it first `fits`, or a little later; when all have ended, if not before.

        `fits` is to hold for less of everything wherever it holds, and for nothing at all.
        """
        held = [(one.left_ms, one.predicted.works * one.left, one.predicted.bytes, one.level) for one in self._held]
        left, works, sizes, levels = np.array(held).reshape(-1, 4).T
        service = _Service(left, levels, self._workers)
        own, above = levels == self._level, levels < self._level
        works_each_ms = np.divide(works, left, out=np.zeros_like(left), where=left > 0)

        def after(ms: float) -> Moment:
            rest, open_ = left - service.had(ms), service.ends > ms
            wait = np.minimum(rest, self._own_ms) @ own + rest @ above
            return Moment(
                int(open_.sum()), float(rest @ works_each_ms), int(sizes @ open_), float(wait) / self._workers
            )

        early, late = 0.0, float(service.ends.max(initial=0.0))
        while late - early > max(CLOSE_MS, CLOSE * late):
            middle = (early + late) / 2
            early, late = (early, middle) if fits(after(middle)) else (middle, late)
        return late


class _Service:
    """What each of some requests has had after a time; `ends` are when they have had all, in ms from now."""

    def __init__(self, left: Array, levels: Array, workers: int) -> None:
        self._left, self._workers = left, workers
        self._levels: list[tuple[NDArray[np.intp], float, Array, Array]] = []  # members, start; time against service
        self.ends = np.zeros_like(left)
        begun = 0.0  # ms of one worker
        for level in np.unique(levels):
            members = np.flatnonzero(levels == level)
            each = np.sort(left[members])
            # sum_j min(r_j, r_k): all below k in full, and r_k of it and of all above.
            spent = np.cumsum(each) + each * np.arange(len(each) - 1, -1, -1)
            self._levels.append((members, begun, np.append(0.0, spent), np.append(0.0, each)))
            ends = (begun + np.interp(left[members], each, spent)) / workers
            self.ends[members] = np.where(left[members] > 0, ends, 0.0)
            begun += float(spent[-1])

    def had(self, ms: float) -> Array:
        """Of one worker's ms, at most what was left."""
        had = np.zeros_like(self._left)
        for members, begun, spent, each in self._levels:
            had[members] = np.minimum(np.interp(ms * self._workers - begun, spent, each), self._left[members])
        return had
