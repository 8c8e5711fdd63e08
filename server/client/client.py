"""The client for programs that wait: one channel, any number of threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from lqhq.server.client import steps
from lqhq.server.client.calls import Calls, OnProgress, OnTile, ended, tell
from lqhq.server.client.connection import ADDRESS, Access, connection
from lqhq.server.client.failures import CallFailed
from lqhq.server.client.folding import Notice
from lqhq.server.client.pictures import Picture
from lqhq.server.client.question import Asking, question
from lqhq.server.client.result import Result
from lqhq.server.client.retry import Attempts, Retry
from lqhq.server.client.steps import Pause, ServerStatus, Step, Steps, Stream
from lqhq.server.protos import lqhq_v1_pb2 as pb

__all__ = ["ANSWER_S", "Client"]

T = TypeVar("T")
ANSWER_S = 20.0  # for questions that need no work


class Client:
    """Speaks `lqhq.v1` to one server. Threads may share it; close it, or use `with`.

    `address` is HOST:PORT or unix:PATH; `access` are the fields of `Access`. The connection is made by the first call.
    Raises `OptionError`.
    """

    def __init__(self, address: str = ADDRESS, *, retry: Retry | None = None, **access: Unpack[Access]) -> None:
        self._calls, self._retry = Calls(connection(address, **access)), retry or Retry()
        self._address = self._calls.address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls that run are cancelled."""
        self._calls.close()

    def restore(
        self,
        image: Picture,
        *,
        progress: OnProgress | None = None,
        tiles: OnTile | None = None,
        timeout_s: float | None = None,
        **asked: Unpack[Asking],
    ) -> Result:
        """Restore one image: a path, a file's bytes, or an array `[H, W, C]` of uint8 or uint16.

        `asked` are the fields of `Asking`. `progress(done, total, left_s)` counts network calls over tiles, and
        begins again where a broken call is made again; `tiles(box, png)` hears boxes of the result whose pixels are
        final, as PNG files. What either raises ends the call and comes out here. `timeout_s` is for all of it, tries
        and pauses included. Ctrl-C cancels the call.

        Raises `OptionError` and `ImageError` before anything is sent, and the errors of `server.client.errors`.
        """
        attempts = Attempts(self._retry, timeout_s)
        asking = question(image, progress=progress is not None, tiles=tiles is not None, **asked)

        def hear(notice: Notice) -> None:
            tell(notice, progress, tiles)

        return self._carry_out(steps.restore(asking, attempts, self._address), hear)

    def models(self, *, ready: bool = False, timeout_s: float | None = ANSWER_S) -> tuple[pb.ModelSummary, ...]:
        """The models of the server, by name and then newest first; with `ready` only those that take requests."""
        return self._carry_out(steps.models(Attempts(self._retry, timeout_s), self._address, ready=ready))

    def describe(self, name: str = "", *, version: int = 0, timeout_s: float | None = ANSWER_S) -> pb.Model:
        """All about one model; "" where the server holds one, version 0 the newest. `UnknownModelError` for another."""
        attempts = Attempts(self._retry, timeout_s)
        return self._carry_out(steps.describe(attempts, self._address, name=name, version=version))

    def status(self, *, timeout_s: float | None = ANSWER_S) -> ServerStatus:
        """Who answers, whether it is ready, and what it holds."""
        return self._carry_out(steps.status(Attempts(self._retry, timeout_s), self._address))

    def _carry_out(self, run: Steps[T], hear: Callable[[Notice], None] | None = None) -> T:
        try:
            step = next(run)
            while True:
                try:
                    reply = self._do(step, hear)
                except CallFailed as failed:
                    step = run.throw(failed)
                else:
                    step = run.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _do(self, step: Step, hear: Callable[[Notice], None] | None) -> Any:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        call = self._calls.begin(step)
        with ended(call):
            if not isinstance(step, Stream):
                return call.result()
            for event in call:
                notice = step.folding.take(event)
                if notice is not None and hear is not None:
                    hear(notice)
        return step.folding.result()
