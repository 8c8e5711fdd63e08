"""Which calls are being answered, so that a server that ends can wait for them and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from grpc.aio import ServicerContext

from lqhq.server.v2.errors import UnavailableError

__all__ = ["OpenAnswers"]


class OpenAnswers:
    """Counts requests from when they are whole until their last byte has left. Used on the event loop alone.

    Health watches, idle streams and uploads are calls as well, but nobody would miss an answer of theirs.
    """

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    def __len__(self) -> int:
        return self._count

    def check(self) -> None:
        """Raise `UnavailableError` once the server is to end."""
        if self.draining:
            raise UnavailableError(
                "server",
                found="a server that is shutting down",
                expected="one that takes requests",
                mend="Send the request again; another server, or this one restarted, will take it.",
            )

    def call(self, context: ServicerContext[Any, Any]) -> None:
        """This call is being answered until its status has left. Raises as `check`."""
        self.check()
        self._begin()
        context.add_done_callback(lambda _: self._end())  # type: ignore[arg-type]

    @contextmanager
    def part(self) -> Iterator[None]:
        """One request of a stream is being answered until the block ends."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    async def idle(self, seconds: float) -> bool:
        """Wait until none is open, `seconds` at most; whether that came."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _begin(self) -> None:
        self._count += 1
        self._idle.clear()

    def _end(self) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()
