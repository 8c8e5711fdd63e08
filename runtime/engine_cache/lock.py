"""One builder at a time for each slot, over processes: a lock that a killed process cannot leave behind."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lqhq.runtime.errors import CancelledError

__all__ = ["holder_of", "slot_lock", "try_lock"]

POLL_S = 0.1  # how soon a waiter sees the lock freed, or its own cancel
MAX_PID_DIGITS = 10
FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@contextmanager
def slot_lock(path: Path, *, say: Callable[[str], None], cancel: Callable[[], bool] | None = None) -> Iterator[None]:
    """Hold the lock of a slot, waiting for whoever has it; `say` is told once that we wait, and for whom.

    Raises `CancelledError` when `cancel` says stop while waiting, `OSError` where the file cannot be made.
    """
    handle, waited = try_lock(path), False
    while handle is None:
        if not waited:
            waited = True
            say(f"waiting for {holder_of(path) or 'another process'}, which builds this engine now")
        if cancel is not None and cancel():
            raise CancelledError(
                path.name,
                found="a cancel while waiting for another builder",
                expected="its end",
                mend="Nothing was built.",
            )
        time.sleep(POLL_S)
        handle = try_lock(path)
    try:
        yield
    finally:
        os.close(handle)


def try_lock(path: Path) -> int | None:
    """The open file that holds the lock until it is closed, or None where another one has it.

    Raises `OSError` where the file cannot be opened or the file system has no locks.
    """
    while True:
        handle = os.open(path, FLAGS | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A cleaner may have removed the file between our opening and locking it: then nobody else sees our lock.
            if _is_still(path, handle):
                if os.fstat(handle).st_nlink != 1:  # what else has that name would be written to
                    raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), str(path))
                os.truncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def holder_of(path: Path) -> str | None:
    """`process 1234`, as the holder of the lock wrote it; None where it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        text = os.read(handle, 2 * MAX_PID_DIGITS).strip()
    except OSError:
        return None
    finally:
        os.close(handle)
    return f"process {int(text)}" if text.isdigit() and len(text) <= MAX_PID_DIGITS else None


def _is_still(path: Path, handle: int) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(handle))
