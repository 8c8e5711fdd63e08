"""One request on the dispatcher, from when it is given to it until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Protocol, Self

from lqhq.server.batching.request import Ending, Request
from lqhq.server.restoring.bell import Bell
from lqhq.server.restoring.course import Course
from lqhq.server.restoring.holding import Holding
from lqhq.server.v2.errors import DeadlineError, UnavailableError

__all__ = ["Run", "Running", "deadline_passed"]


class Running(Protocol):
    """What is needed of the dispatcher. Both only leave word; `ended` is called once, on a thread of its own."""

    def submit(self, request: Request, ended: Callable[[Ending], None]) -> None: ...

    def cancel(self, request: Request) -> None: ...


class Run:
    """Submits `request` when the block begins, and cancels it where the block ends before it."""

    def __init__(self, dispatcher: Running, request: Request, holding: Holding, course: Course, bell: Bell) -> None:
        self._dispatcher, self._request, self._course, self._bell = dispatcher, request, course, bell
        self._told: Future[Ending] = Future()
        self._told.set_running_or_notify_cancel()  # who waits for it may give up; it comes all the same
        self._ending = holding.hold(self._told)

    def __enter__(self) -> Self:
        self._dispatcher.submit(self._request, self._told.set_result)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._told.done():
            self._dispatcher.cancel(self._request)

    async def begun(self) -> None:
        """Wait until its first call has been given out, or it has ended."""
        begun = asyncio.Event()

        def look() -> None:
            if self._course.started_s is not None:
                begun.set()

        self._ending.add_done_callback(lambda _: begun.set())
        self._bell.add(look)
        look()
        await begun.wait()

    async def done(self) -> None:
        """Wait until it is done. Raises what it failed with, `DeadlineError`, `UnavailableError` where it was ended."""
        ending = await self._ending
        if ending.kind == "failed" and ending.error is not None:
            raise ending.error
        if ending.kind == "expired":
            raise deadline_passed(self._request.name)
        if ending.kind != "done":
            raise UnavailableError(
                f"request {self._request.name}",
                found="a server that ended it",
                expected="one that runs",
                mend="Send it again.",
            )


def deadline_passed(name: str) -> DeadlineError:
    """The error of the request `name` whose time is over."""
    return DeadlineError(
        f"request {name}",
        found="a deadline that has passed",
        expected="a result before it",
        mend="Give it more time, send a smaller image, or take fewer steps.",
    )
