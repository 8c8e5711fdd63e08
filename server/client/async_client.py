"""The client for programs on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import isawaitable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from lqhq.server.client import steps
from lqhq.server.client.calls import Calls, OnProgress, OnTile, ended, tell
from lqhq.server.client.client import ANSWER_S
from lqhq.server.client.connection import ADDRESS, Access, connection
from lqhq.server.client.failures import CallFailed
from lqhq.server.client.folding import Notice
from lqhq.server.client.pictures import Picture
from lqhq.server.client.question import Asking, question
from lqhq.server.client.result import Result
from lqhq.server.client.retry import Attempts, Retry
from lqhq.server.client.steps import Pause, ServerStatus, Step, Steps, Stream
from lqhq.server.protos import lqhq_v1_pb2 as pb

__all__ = ["AsyncClient"]

T = TypeVar("T")
# Threads, which exist while calls wait. A connection of lqhq's server has 32 calls at once; more wait in any case.
MAX_CALLS = 64


class AsyncClient:
    """`Client` for coroutines: the same arguments, methods and errors. Use `async with`, or await `close`.

    Cancelling a task that awaits `restore` cancels the call. `progress` and `tiles` run on the loop, in the task that
    awaits, and may be coroutine functions. Up to 64 calls run at once; further ones wait here.
    """

    def __init__(self, address: str = ADDRESS, *, retry: Retry | None = None, **access: Unpack[Access]) -> None:
        self._calls, self._retry = Calls(connection(address, **access)), retry or Retry()
        self._address = self._calls.address
        self._threads = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="lqhq-client")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; calls that run are cancelled."""
        self._calls.close()
        self._threads.shutdown(wait=False)

    async def restore(
        self,
        image: Picture,
        *,
        progress: OnProgress | None = None,
        tiles: OnTile | None = None,
        timeout_s: float | None = None,
        **asked: Unpack[Asking],
    ) -> Result:
        """As `Client.restore`. Files are read and arrays encoded in a thread."""
        attempts = Attempts(self._retry, timeout_s)
        asking = await asyncio.to_thread(
            question, image, progress=progress is not None, tiles=tiles is not None, **asked
        )

        async def hear(notice: Notice) -> None:
            answer = tell(notice, progress, tiles)
            if isawaitable(answer):
                await answer

        return await self._carry_out(steps.restore(asking, attempts, self._address), hear)

    async def models(self, *, ready: bool = False, timeout_s: float | None = ANSWER_S) -> tuple[pb.ModelSummary, ...]:
        """As `Client.models`."""
        return await self._carry_out(steps.models(Attempts(self._retry, timeout_s), self._address, ready=ready))

    async def describe(self, name: str = "", *, version: int = 0, timeout_s: float | None = ANSWER_S) -> pb.Model:
        """As `Client.describe`."""
        attempts = Attempts(self._retry, timeout_s)
        return await self._carry_out(steps.describe(attempts, self._address, name=name, version=version))

    async def status(self, *, timeout_s: float | None = ANSWER_S) -> ServerStatus:
        """As `Client.status`."""
        return await self._carry_out(steps.status(Attempts(self._retry, timeout_s), self._address))

    async def _carry_out(self, run: Steps[T], hear: Callable[[Notice], Awaitable[None]] | None = None) -> T:
        try:
            step = next(run)
            while True:
                try:
                    reply = await self._do(step, hear)
                except CallFailed as failed:
                    step = run.throw(failed)
                else:
                    step = run.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _do(self, step: Step, hear: Callable[[Notice], Awaitable[None]] | None) -> Any:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        loop = asyncio.get_running_loop()
        call = self._calls.begin(step)
        with ended(call):
            if not isinstance(step, Stream):
                return await loop.run_in_executor(self._threads, call.result)
            # A thread waits for each event; it is folded and heard here, so a slow listener holds the server back.
            while (event := await loop.run_in_executor(self._threads, next, call, None)) is not None:
                notice = step.folding.take(event)
                if notice is not None and hear is not None:
                    await hear(notice)
        return step.folding.result()
