"""Runs the ready work of one or many Jobs on the sessions of their roles, batch by batch.

While a session computes one batch, the next is made ready and the last is put away: the network never waits for
NumPy. One thread only ever calls the sessions, and Jobs are touched by the caller's thread alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from lqhq.runtime.engines.device_arrays import joined
from lqhq.runtime.errors import CancelledError
from lqhq.runtime.job import Job, Work
from lqhq.runtime.session import Feed, Session
from lqhq.runtime.session_pool import SessionPool
from lqhq.runtime.session_thread import SessionThread

__all__ = ["drive"]

AHEAD = 2  # batches given to the sessions: one that runs, one that waits


def drive(
    jobs: Sequence[Job],
    sessions: Mapping[str, Session],
    *,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> None:
    """Drive `jobs` to the end on `sessions`, by role.

    Work of equal role and shape shares a batch of exactly `batch` samples, whoever it is from. A batch that cannot be
    filled is padded by repeating its last sample: engines may compute a sample differently in a batch of another size,
    so a fixed size is what keeps the bytes equal. `progress(done, total)` is called after each batch; `cancel()` is
    asked before each, and raises `CancelledError`.
    """
    if len(jobs) > 1 and isinstance(sessions, SessionPool) and sessions.alone:
        raise ValueError("jobs beside one another on a pool that holds one session at a time")
    total, finished = sum(job.total for job in jobs), 0
    queue = _Queue(jobs, batch)
    running: deque[list[Work]] = deque()
    with SessionThread() as runner:
        while finished < total:
            if cancel is not None and cancel():
                raise _cancelled(finished, total)
            while len(running) < AHEAD and (works := queue.take(last=not running)):
                runner.submit(partial(sessions[works[0].call.role].run, _feed(works, batch)))
                running.append(works)
            works, fetch = running.popleft(), runner.result()
            for index, work in enumerate(works):
                work.job.done(work, {name: array[index : index + 1] for name, array in fetch.items()})
            finished += len(works)
            if progress is not None:
                progress(finished, total)


class _Queue:
    """Ready work by shape, and the batches taken from it."""

    def __init__(self, jobs: Sequence[Job], batch: int) -> None:
        self._jobs, self._batch = jobs, batch
        self._waiting: dict[tuple[str, int, int], list[Work]] = {}

    def take(self, *, last: bool) -> list[Work]:
        """The next full batch; where none can be filled, a short one if nothing runs that could fill it (`last`)."""
        for job in self._jobs:
            room = self._batch - max(map(len, self._waiting.values()), default=0)
            for work in job.ready(max(0, room)):
                self._waiting.setdefault(work.key, []).append(work)
        key = max(self._waiting, key=lambda name: len(self._waiting[name]), default=None)
        if key is None or (len(self._waiting[key]) < self._batch and not last):
            return []
        works, rest = self._waiting[key][: self._batch], self._waiting[key][self._batch :]
        if rest:
            self._waiting[key] = rest
        else:
            del self._waiting[key]
        return works


def _feed(works: Sequence[Work], batch: int) -> Feed:
    feeds = [work.feed() for work in works]
    if batch == 1:
        return feeds[0]
    feeds += [feeds[-1]] * (batch - len(feeds))
    return {name: joined([feed[name] for feed in feeds]) for name in feeds[0]}


def _cancelled(finished: int, total: int) -> CancelledError:
    return CancelledError(
        "restore",
        found=f"a request to stop after {finished} of {total} network calls",
        expected="to run to the end",
        mend="Start again; a batch run with --resume keeps what was finished.",
    )
