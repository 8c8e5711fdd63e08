"""Room that is held for a request to the very end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any, TypeVar

from lqhq.server.admission.reservation import Reservation

__all__ = ["Holding"]

R = TypeVar("R")


class Holding:
    """A reservation, given back when the request has ended and no other thread works on it any more.

    A caller that gives up leaves its request's threads to end by themselves; what they hold is counted until then. For
    the event loop that made it.
    """

    def __init__(
        self, reservation: Reservation, release: Callable[[Reservation], None], changed: Callable[[], None]
    ) -> None:
        """`release` gives the reservation back; `changed` hears that it takes less."""
        self.reservation = reservation
        self._release, self._changed = release, changed
        self._loop = asyncio.get_running_loop()
        self._users = 1  # the request itself

    async def run(self, pool: Executor | None, call: Callable[[], R]) -> R:
        """What `call` gives in `pool`, or here where there is none.

        One that has not begun is not begun where the caller gives up.
        """
        return call() if pool is None else await self.hold(pool.submit(call))

    def hold(self, future: Future[R]) -> asyncio.Future[R]:
        """`future` for the event loop; room is held until it is done, whoever waits for it.

        As `asyncio.wrap_future`, but what is done is told, and its room given back, by one call between threads.
        """
        self._users += 1
        here: asyncio.Future[R] = self._loop.create_future()

        def told() -> None:
            self._less()
            if here.cancelled():
                return
            if future.cancelled():
                here.cancel()
            elif (error := future.exception()) is not None:
                here.set_exception(error)
            else:
                here.set_result(future.result())

        def tell(future: Future[R]) -> None:
            with suppress(RuntimeError):  # the loop has ended, and the ledger with it
                self._loop.call_soon_threadsafe(told)

        future.add_done_callback(tell)
        here.add_done_callback(lambda here: future.cancel() if here.cancelled() else None)
        return here

    def close(self) -> None:
        """The request has ended."""
        self._less()

    def close_with(self, task: asyncio.Task[Any], size_bytes: int) -> None:
        """All works are done, and what is left takes `size_bytes`; the request ends with `task`."""
        predicted = self.reservation.predicted
        left = predicted._replace(works=0, ms=0.0, least_ms=0.0, bytes=min(predicted.bytes, size_bytes))
        self.reservation.predicted = left
        self._changed()
        task.add_done_callback(lambda _: self.close())

    def _less(self) -> None:
        self._users -= 1
        if not self._users:
            self._release(self.reservation)
