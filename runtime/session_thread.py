"""A thread that calls sessions, one call after the other, beside the thread that prepares and puts away."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from lqhq.runtime.session import Fetch

__all__ = ["SessionThread"]


class SessionThread:
    """Runs what it is given in the order that it came; results are taken in that order.

    No executor: its locks are taken in Python, and a Ctrl-C between taking one and holding it leaves it taken for ever.
    What is used here takes none outside of C.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], Fetch] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Fetch, None] | tuple[None, BaseException]] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._stopping = False

    def __enter__(self) -> Self:
        _thread.start_new_thread(self._work, ())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the call that runs; those that wait are dropped."""
        self._stopping = True
        self._calls.put(None)
        self._ended.get()

    def submit(self, call: Callable[[], Fetch]) -> None:
        """Have `call` run when all before it have."""
        self._calls.put(call)

    def result(self) -> Fetch:
        """What the oldest call gave whose result was not taken; waits for it. Raises what it raised."""
        fetch, error = self._results.get()
        if error is not None:
            raise error
        assert fetch is not None
        return fetch

    def _work(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                if self._stopping:
                    continue
                try:
                    self._results.put((call(), None))
                except BaseException as error:  # noqa: BLE001 -- it is raised again where the result is taken
                    self._results.put((None, error))
                del call  # and with it what it holds, before the next one comes
        finally:
            self._ended.put(None)
