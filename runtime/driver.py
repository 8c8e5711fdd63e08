"""Runs the ready work of one or many sources on the sessions of its roles, batch by batch.

While a session computes one batch, the next is made ready and the last is put away: the network never waits for
NumPy. One thread only ever calls the sessions, and sources are touched by the caller's thread alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from lqhq.runtime.batch_feed import batch_feed
from lqhq.runtime.errors import CancelledError
from lqhq.runtime.job import Work
from lqhq.runtime.session import Fetch, Session
from lqhq.runtime.session_pool import SessionPool
from lqhq.runtime.session_thread import SessionThread

__all__ = ["Source", "drive"]

AHEAD = 2  # batches given to the sessions: one that runs, one that waits


class Source(Protocol):
    """Where works come from: a `Job`, or a `Restoration`."""

    @property
    def total(self) -> int:
        """Works from start to end."""
        ...

    def ready(self, limit: int) -> Sequence[Work]:
        """Up to `limit` works that can run now; each is given out once. Empty while all depends on what is out."""
        ...

    def done(self, work: Work, fetch: Fetch) -> None: ...


class _Given(NamedTuple):
    """A work, and who is told what became of it."""

    source: Source
    work: Work


def drive(
    sources: Sequence[Source],
    sessions: Mapping[str, Session],
    *,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> None:
    """Drive `sources` to the end on `sessions`, by role.

    Work of equal role and shape shares a batch of exactly `batch` samples, whoever it is from. A batch that cannot be
    filled is padded by repeating its last sample: engines may compute a sample differently in a batch of another size,
    so a fixed size is what keeps the bytes equal. `progress(done, total)` is called after each batch; `cancel()` is
    asked before each, and raises `CancelledError`.
    """
    if len(sources) > 1 and isinstance(sessions, SessionPool) and sessions.alone:
        raise ValueError("jobs beside one another on a pool that holds one session at a time")
    total, finished = sum(source.total for source in sources), 0
    queue = _Queue(sources, batch)
    running: deque[list[_Given]] = deque()
    with SessionThread() as runner:
        while finished < total:
            if cancel is not None and cancel():
                raise _cancelled(finished, total)
            while len(running) < AHEAD and (given := queue.take(last=not running)):
                feed = batch_feed([one.work for one in given], batch)
                runner.submit(partial(sessions[given[0].work.call.role].run, feed))
                running.append(given)
            given, fetch = running.popleft(), runner.result()
            for index, (source, work) in enumerate(given):
                source.done(work, {name: array[index : index + 1] for name, array in fetch.items()})
            finished += len(given)
            if progress is not None:
                progress(finished, total)


class _Queue:
    """Ready work by shape, and the batches taken from it."""

    def __init__(self, sources: Sequence[Source], batch: int) -> None:
        self._sources, self._batch = sources, batch
        self._waiting: dict[tuple[str, int, int], list[_Given]] = {}

    def take(self, *, last: bool) -> list[_Given]:
        """The next full batch; where none can be filled, a short one if nothing runs that could fill it (`last`)."""
        for source in self._sources:
            room = self._batch - max(map(len, self._waiting.values()), default=0)
            for work in source.ready(max(0, room)):
                self._waiting.setdefault(work.key, []).append(_Given(source, work))
        key = max(self._waiting, key=lambda name: len(self._waiting[name]), default=None)
        if key is None or (len(self._waiting[key]) < self._batch and not last):
            return []
        given, rest = self._waiting[key][: self._batch], self._waiting[key][self._batch :]
        if rest:
            self._waiting[key] = rest
        else:
            del self._waiting[key]
        return given


def _cancelled(finished: int, total: int) -> CancelledError:
    return CancelledError(
        "restore",
        found=f"a request to stop after {finished} of {total} network calls",
        expected="to run to the end",
        mend="Start again; a batch run with --resume keeps what was finished.",
    )
