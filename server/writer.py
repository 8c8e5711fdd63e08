"""Messages to a client that may read slowly, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

from grpc.aio import ServicerContext

from lqhq.server.v2.errors import DeadlineError

__all__ = ["Writer"]

Message = TypeVar("Message")


class Writer(Generic[Message]):
    """Writes to one call, one message at a time, whoever they are of; each may wait `seconds` for the client."""

    def __init__(self, context: ServicerContext[Any, Message], seconds: float) -> None:
        self._context, self._seconds = context, seconds
        self._turn = asyncio.Lock()

    async def write(self, message: Message) -> None:
        """Returns once gRPC has passed the message on. Raises `DeadlineError` where it waits for longer."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._context.write(message)
            except TimeoutError:
                raise DeadlineError(
                    "answer",
                    found=f"a message that was not read for {self._seconds:g} s",
                    expected="a client that reads",
                    mend="Read the replies while the call runs.",
                ) from None
