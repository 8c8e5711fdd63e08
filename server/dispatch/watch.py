"""What the dispatcher's thread sleeps on: workers, and a bell that any thread may ring."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

from lqhq.server.batching.request import NEVER
from lqhq.server.dispatch.seat import Seat
from lqhq.server.workers.worker import Worker

__all__ = ["Watch"]


class Watch:
    """The bell may be rung by any thread; all else is for one. Raises `OSError` where files cannot be had."""

    def __init__(self) -> None:
        self._bell, self._poller = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), select.epoll()
        self._poller.register(self._bell, select.EPOLLIN)
        self._watched: dict[int, tuple[Seat, Worker]] = {}

    def ring(self) -> None:
        """Wake who waits, or will."""
        os.eventfd_write(self._bell, 1)

    def wait(self, ms: float) -> Iterator[tuple[Seat, Worker, bool]]:
        """Sleep for so long, infinite for ever, or until something happens.

        Gives workers that have something to read: their answers, or, where it is True, what they print.
        """
        for file, _ in self._poller.poll(-1.0 if ms == NEVER else max(0.0, ms) / 1e3):
            if file == self._bell:
                os.eventfd_read(self._bell)
            elif file in self._watched:
                seat, worker = self._watched[file]
                yield seat, worker, file == worker.output.fileno()

    def add(self, seat: Seat, worker: Worker) -> None:
        for file in (worker.answers.socket.fileno(), worker.output.fileno()):
            self._watched[file] = seat, worker
            self._poller.register(file, select.EPOLLIN)

    def drop_answers(self, worker: Worker) -> None:
        """Before they are closed."""
        self._drop(worker.answers.socket.fileno())

    def drop_output(self, worker: Worker) -> None:
        """Before it is closed, or when it has ended."""
        self._drop(worker.output.fileno())

    def close(self) -> None:
        self._poller.close()
        os.close(self._bell)

    def _drop(self, file: int) -> None:
        if self._watched.pop(file, None) is not None:
            self._poller.unregister(file)
