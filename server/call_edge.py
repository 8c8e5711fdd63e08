"""Where errors leave a call: a gRPC status, details for people, and when to come back.

An answer that the client does not take is given up after `send_s`. gRPC's own buffers then still hold one message of
it until the client reads, cancels or goes; the server holds nothing more, and the call no longer counts as one of the
server's.
"""

from __future__ import annotations

import asyncio
import secrets
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

from google.protobuf.message import DecodeError
from grpc import StatusCode
from grpc.aio import BaseError, ServicerContext

from lqhq.runtime.errors import LqhqError
from lqhq.server.v2.errors import RequestError
from lqhq.server.v2.status import status_of
from lqhq.server.writer import Writer

__all__ = ["RETRY_AFTER", "CallEdge", "Log", "header_text", "retry_after_ms"]

RETRY_AFTER = "retry-after-ms"
ABORT_S = 1.0  # a status waits behind what the client has not read; nobody waits longer for it
TRACE = 4000  # characters of a traceback that the log keeps, the last ones
MAX_HEADER = 4096  # bytes of the details as they travel; clients take 8 KiB of headers by default

Message = TypeVar("Message")
Log = Callable[..., None]  # log(event, **fields)


def retry_after_ms(error: BaseException) -> int | None:
    """When to come back, where the error says so: whole milliseconds."""
    after = getattr(error, "retry_after_ms", None)
    return None if after is None else max(1, round(after))


def header_text(text: str) -> str:
    """`text` as far as it fits a header: gRPC writes every byte that is no plain ASCII as three."""
    size = 0
    kept: list[str] = []
    for char in text:
        size += 1 if " " <= char <= "~" and char != "%" else 3 * len(char.encode(errors="replace"))
        if size > MAX_HEADER - 3:
            return "".join(kept) + "..."
        kept.append(char)
    return text.encode(errors="replace").decode()


class CallEdge:
    """Shared by the services. `send_s`: how long one message may wait for a client to read it."""

    def __init__(self, *, send_s: float, log: Log) -> None:
        self._send_s, self._log = send_s, log

    @asynccontextmanager
    async def call(self, context: ServicerContext[Any, Any], request: str = "") -> AsyncIterator[None]:
        """What the block raises ends the call with its status; `request` is its id in the log."""
        try:
            yield
        except BaseError:  # an abort on its way, or a client that has gone
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the call ends with a status
            await self.fail(context, error, request)

    async def fail(self, context: ServicerContext[Any, Any], error: Exception, request: str = "") -> NoReturn:
        """End the call with the status of `error`. Raises what gRPC expects of an ended call."""
        code, details = self.told(error, request)
        after = retry_after_ms(error)
        trailing = () if after is None else ((RETRY_AFTER, str(after)),)
        try:
            async with asyncio.timeout(ABORT_S):
                await context.abort(code, details, trailing)
        except TimeoutError:
            # The status is on its way behind what nobody reads.
            raise asyncio.CancelledError from error
        raise AssertionError("abort returned")

    def told(self, error: Exception, request: str) -> tuple[StatusCode, str]:
        """Status and details of `error`. What is told to nobody is logged, under an id that the details name."""
        code, details = status_of(_malformed() if isinstance(error, DecodeError) else error)
        if code is StatusCode.INTERNAL:
            id = request or secrets.token_hex(8)
            trace = "" if isinstance(error, LqhqError) else "".join(traceback.format_exception(error))[-TRACE:]
            self._log("call failed", id=id, kind=type(error).__name__, error=str(error), trace=trace)
            details = f"{details} The id is {id}."
        return code, header_text(details)

    def cut_off(self, context: ServicerContext[Any, Any]) -> None:
        """Give a unary answer up after `send_s`. Call it last: what is left of the handler's task is the sending."""
        task = asyncio.current_task()
        assert task is not None
        timer = asyncio.get_running_loop().call_later(self._send_s, task.cancel)
        context.add_done_callback(lambda _: timer.cancel())  # type: ignore[arg-type]

    def writer(self, context: ServicerContext[Any, Message]) -> Writer[Message]:
        return Writer(context, self._send_s)


def _malformed() -> RequestError:
    """For a message of a stream; those of unary calls are read by `access.unary_reading`."""
    return RequestError(
        "message",
        found="bytes that cannot be read",
        expected="a message as the service's proto says",
        mend="Update the client, or see what stands between it and the server.",
    )
