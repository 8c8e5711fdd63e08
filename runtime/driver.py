"""Runs the ready work of one or many Jobs on a session, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lqhq.runtime.errors import CancelledError
from lqhq.runtime.job import Job, Work
from lqhq.runtime.session import Session

__all__ = ["drive"]


def drive(
    jobs: Sequence[Job],
    session: Session,
    *,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> None:
    """Drive `jobs` to the end. Work of equal shape shares a batch of exactly `batch` samples, whoever it is from.

    A batch that cannot be filled is padded by repeating its last sample: engines may compute a sample differently
    in a batch of another size, so a fixed size is what keeps the bytes equal. `progress(done, total)` is called
    after each batch; `cancel()` is asked before each, and raises `CancelledError`.
    """
    total, finished = sum(job.total for job in jobs), 0
    waiting: dict[tuple[str, int, int], list[Work]] = {}
    while finished < total:
        if cancel is not None and cancel():
            raise CancelledError(
                "restore",
                found=f"a request to stop after {finished} of {total} tiles",
                expected="to run to the end",
                mend="Start again; a batch run with --resume keeps what was finished.",
            )
        for job in jobs:
            for work in job.ready(max(0, batch - sum(map(len, waiting.values())))):
                waiting.setdefault(work.key, []).append(work)
        key = max(waiting, key=lambda name: len(waiting[name]))
        works, waiting[key] = waiting[key][:batch], waiting[key][batch:]
        if not waiting[key]:
            del waiting[key]
        _run(works, session, batch)
        finished += len(works)
        if progress is not None:
            progress(finished, total)


def _run(works: Sequence[Work], session: Session, batch: int) -> None:
    feeds = [work.feed() for work in works]
    feeds += [feeds[-1]] * (batch - len(feeds))
    if batch == 1:
        fetch = session.run(feeds[0])
    else:
        fetch = session.run({name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]})
    for index, work in enumerate(works):
        work.job.done(work, {name: array[index : index + 1] for name, array in fetch.items()})
