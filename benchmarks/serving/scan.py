"""One huge restoration through lqhq.v1, in a thread, while others ask for small ones."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from lqhq.server.client import Client

__all__ = ["Scan"]

FIRST_S = 600.0  # until its first tile is done


class Scan:
    """From `with`, which waits for its first tile, until it is restored and downloaded, or the block is left.

    `running` is true until the answer is there. What went wrong comes out at the end of the block.
    """

    def __init__(self, address: str, model: str, file: bytes) -> None:
        self._address, self._model, self._file = address, model, file
        self._first, self._stop, self._done = threading.Event(), threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seconds = 0.0
        self.works = 0

    @property
    def running(self) -> bool:
        return not self._done.is_set()

    def wait(self) -> None:
        """Until it is done. Raises what ended it."""
        self._done.wait()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._first.wait(FIRST_S):
            raise TimeoutError(f"no tile of the scan within {FIRST_S:g} s")
        return self

    def _run(self) -> None:
        start = time.perf_counter()
        try:
            with Client(self._address) as client:
                client.restore(self._file, model=self._model, progress=self._progress)
        except BaseException as error:  # noqa: BLE001 -- raised again in the thread that waits
            self._error = error
        finally:
            self.seconds = time.perf_counter() - start
            self._done.set()
            self._first.set()

    def _progress(self, done: int, total: int, left_s: float) -> None:
        self.works = total
        if done:
            self._first.set()
        if self._stop.is_set():
            raise InterruptedError("the scan is no longer wanted")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if kind is None and self._error is not None and not isinstance(self._error, InterruptedError):
            raise self._error
