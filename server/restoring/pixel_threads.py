"""The threads that decode, plan and encode."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

__all__ = ["PixelThreads"]

QUICK_PIXELS = 1 << 20  # decoded or encoded in some ten milliseconds
TINY_PIXELS = 1 << 16  # of tensors: made ready in a fifth of a millisecond, less than two changes of thread


class _AtOnce(Executor):
    """Runs what it is given in the thread that gives it."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = Future[Any]()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(call(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 -- it is raised again where the result is taken
            future.set_exception(error)
        return future


AT_ONCE = _AtOnce()


class PixelThreads:
    """So many threads for large images, and as many for small ones and for plans, which do not wait behind the others.

    Who waits in them is bounded by the calls that the server takes; what they hold, by the ledger.
    """

    def __init__(self, threads: int) -> None:
        self.quick: Executor = ThreadPoolExecutor(threads, thread_name_prefix="quick-pixels")
        self.slow: Executor = ThreadPoolExecutor(threads, thread_name_prefix="slow-pixels")

    def of(self, pixels: int, *, heavy: bool) -> Executor:
        """Those for an image of so many pixels; `heavy` says that there are files, or words, to read.

        What is done sooner than threads change is done in the caller's, the event loop's.
        """
        if not heavy and pixels <= TINY_PIXELS:
            return AT_ONCE
        return self.quick if pixels <= QUICK_PIXELS else self.slow

    def close(self) -> None:
        """Begin nothing more; what runs ends by itself."""
        for pool in (self.quick, self.slow):
            pool.shutdown(wait=False, cancel_futures=True)
