"""Workers that are killed while a server works, and its memory afterwards."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from serving.process_tree import descendants

__all__ = ["Killer", "settled", "workers_of"]

BETWEEN = 12  # good answers between two kills: more than were under way at the first, so a new worker gave some
WORKER = b"lqhq.server.workers"  # on the command line of a worker process


class Killer:
    """While it is open, kills the workers of the server `pid` every `pause` seconds.

    `answered` counts good answers. After a kill the next one waits for a few of them: a worker that dies before it has
    done anything is another matter, since a server that starts such a one again and again does nothing else.
    """

    def __init__(self, pid: int, pause: float, answered: Callable[[], int]) -> None:
        self._pid, self._pause, self._answered = pid, pause, answered
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.killed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        since = self._answered()
        while not self._stop.wait(self._pause):
            if self._answered() < since + BETWEEN:
                continue
            for worker in workers_of(self._pid):
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    self.killed += 1
            since = self._answered()


def workers_of(pid: int) -> list[int]:
    """The worker processes of a server."""
    return [process for process in descendants(pid) if WORKER in _command(process)]


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def settled(memory: Callable[[], int], most: float, patience: float) -> int:
    """The memory once it is at most `most` bytes, else what is left after `patience` seconds."""
    until = time.monotonic() + patience
    while (found := memory()) > most and time.monotonic() < until:
        time.sleep(0.5)
    return found
