"""The threads that decode, plan and encode."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

__all__ = ["PixelThreads"]

QUICK_PIXELS = 1 << 20  # decoded or encoded in some ten milliseconds
TINY_PIXELS = 1 << 16  # of tensors: made ready in a fifth of a millisecond, less than two changes of thread


class PixelThreads:
    """So many threads for large images, and as many for small ones and for plans, which do not wait behind the others.

    Who waits in them is bounded by the calls that the server takes; what they hold, by the ledger.
    """

    def __init__(self, threads: int) -> None:
        self.quick: Executor = ThreadPoolExecutor(threads, thread_name_prefix="quick-pixels")
        self.slow: Executor = ThreadPoolExecutor(threads, thread_name_prefix="slow-pixels")

    def of(self, pixels: int, *, heavy: bool) -> Executor | None:
        """Those for an image of so many pixels; `heavy` says that there are files, or words, to read.

        None for what is done sooner than threads change: it is to be done at once, on the event loop.
        """
        if not heavy and pixels <= TINY_PIXELS:
            return None
        return self.quick if pixels <= QUICK_PIXELS else self.slow

    def close(self) -> None:
        """Begin nothing more; what runs ends by itself."""
        for pool in (self.quick, self.slow):
            pool.shutdown(wait=False, cancel_futures=True)
