"""Tells a follower how far its request is, at the pace at which it listens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from numpy.typing import NDArray

from lqhq.server.pace import Pace
from lqhq.server.restoring.ask import Follower
from lqhq.server.restoring.course import Course

__all__ = ["Following", "Telling"]

R = TypeVar("R")
Made = Callable[[NDArray[Any]], Awaitable[NDArray[Any]]]


class Telling:
    """Reads `course` whenever it is woken. Progress that came while the follower was busy is left out; tiles wait.

    `made` gives a tile the type of the result.
    """

    def __init__(
        self, follower: Follower, course: Course, *, progress: bool, total: int, made: Made, clock: Callable[[], float]
    ) -> None:
        self._follower, self._course = follower, course
        self._progress, self._total, self._made = progress, total, made
        self._news = asyncio.Event()
        self._over = False
        self._said: int | None = None  # what was told last: the end adds nothing to it where all was done before
        self._pace = Pace(clock)

    def wake(self) -> None:
        """There is news."""
        self._news.set()

    def end(self) -> None:
        """Nothing more will come; `run` returns once all is told."""
        self._over = True
        self._news.set()

    async def run(self) -> None:
        """Raises what the follower raises."""
        last = False
        while not last:
            await self._news.wait()
            self._news.clear()
            last = self._over  # what came before the end is there already
            while (tile := self._course.next_tile()) is not None:
                await self._follower.tile(tile[0], await self._made(tile[1]))
                await self._say(last=False)
            await self._say(last=last)

    async def _say(self, *, last: bool) -> None:
        done = self._course.done
        if self._progress and (last or done) and done != self._said and self._pace.due(last=last):
            self._said = done
            await self._follower.progress(done, self._total, self._course.left_s(self._total))


class Following:
    """Runs a `Telling` beside the request. What the follower raises ends the block.

    Once the block has ended well, what is still to be told may take `last_s`; the rest is left out.
    """

    def __init__(self, telling: Telling | None, *, last_s: float) -> None:
        self._telling, self._last_s = telling, last_s
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._telling is not None:
            self._task = asyncio.create_task(self._telling.run())
        return self

    async def beside(self, work: Coroutine[Any, Any, R]) -> R:
        """What `work` gives; it is cancelled where the follower raises, or the caller gives up."""
        if self._task is None:
            return await work
        running = asyncio.create_task(work)
        try:
            await asyncio.wait({running, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if self._task.done() and not running.done():
                self._task.result()  # it ends by itself only after `end`: this raises
            return await running
        finally:
            await _ended(running)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._telling is None or self._task is None:
            return
        if error is None:
            self._telling.end()
            await asyncio.wait({self._task}, timeout=self._last_s)
            if self._task.done():
                self._task.result()
        await _ended(self._task)


async def _ended(task: asyncio.Task[Any]) -> None:
    """Cancel `task` where it runs, and see it end. What it raised, if anything, was told or is of no use any more."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
