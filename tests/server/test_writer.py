"""Messages are written one at a time; a client that does not read ends its call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lqhq.server.v2.errors import DeadlineError
from lqhq.server.writer import Writer


class Call:
    """Stands for a call's context: takes each message `seconds` long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.writing = 0
        self.written: list[Any] = []

    async def write(self, message: Any) -> None:
        self.writing += 1
        assert self.writing == 1, "two at once"
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.writing -= 1
        self.written.append(message)


def test_one_at_a_time_in_order() -> None:
    call = Call(0.001)

    async def run() -> None:
        writer = Writer[int](call, 5)  # type: ignore[arg-type]
        await asyncio.gather(*(writer.write(number) for number in range(5)))

    asyncio.run(run())
    assert call.written == [0, 1, 2, 3, 4]


def test_a_client_that_does_not_read() -> None:
    call = Call(60)
    with pytest.raises(DeadlineError, match=r"not read for 0\.01 s"):
        asyncio.run(Writer[int](call, 0.01).write(1))  # type: ignore[arg-type]
    assert (call.writing, call.written) == (0, [])


def test_waiting_for_others_is_not_the_clients_fault() -> None:
    call = Call(0.03)

    async def run() -> None:
        writer = Writer[int](call, 0.05)  # type: ignore[arg-type]
        await asyncio.gather(*(writer.write(number) for number in range(4)))

    asyncio.run(run())
    assert len(call.written) == 4
