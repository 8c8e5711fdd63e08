"""Whose turn it is on a model: many at once, or one alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Turns"]


class Turns:
    """First come, first served; those that share go together. For one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[bool, asyncio.Future[None]]] = deque()
        self._sharing = 0
        self._alone = False

    @asynccontextmanager
    async def take(self, *, alone: bool) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while the block runs."""
        await self._wait(alone)
        try:
            yield
        finally:
            self._leave(alone)

    async def _wait(self, alone: bool) -> None:
        if not self._waiting and self._free(alone):
            self._enter(alone)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((alone, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given in the same moment
                self._leave(alone)
            else:
                self._waiting.remove((alone, turn))
                self._next()
            raise

    def _free(self, alone: bool) -> bool:
        return not self._alone and not (alone and self._sharing)

    def _enter(self, alone: bool) -> None:
        if alone:
            self._alone = True
        else:
            self._sharing += 1

    def _leave(self, alone: bool) -> None:
        if alone:
            self._alone = False
        else:
            self._sharing -= 1
        self._next()

    def _next(self) -> None:
        while self._waiting and self._free(self._waiting[0][0]):
            alone, turn = self._waiting.popleft()
            self._enter(alone)
            turn.set_result(None)
