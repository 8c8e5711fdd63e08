"""Who is told what happens."""

from __future__ import annotations

from typing import Any, Protocol

from lqhq.server.batching.batch_key import BatchKey

__all__ = ["Log", "Observer"]


class Observer(Protocol):
    """Called on the dispatcher's thread; it is back soon."""

    def batch(self, key: BatchKey, size: int, works: int, in_ms: float, run_ms: float, out_ms: float) -> None:
        """A batch ran: `works` of them in a call of `size` samples. Times are of the feed, the worker, the results."""
        ...

    def worker_lost(self, worker: str, reason: str) -> None: ...

    def worker_ready(self, worker: str) -> None: ...


class Log(Protocol):
    """One line of the server's log."""

    def __call__(self, event: str, /, **fields: Any) -> None: ...
