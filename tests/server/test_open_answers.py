"""A server that ends waits for answers, and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lqhq.server.open_answers import OpenAnswers
from lqhq.server.v2.errors import UnavailableError


class Call:
    """Stands for a call's context."""

    def __init__(self) -> None:
        self.ended: list[Callable[[Any], None]] = []

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.ended.append(callback)


def test_idle_when_the_last_has_ended() -> None:
    async def run() -> None:
        answers, call = OpenAnswers(), Call()
        assert await answers.idle(0)
        answers.call(call)  # type: ignore[arg-type]
        with answers.part():
            assert len(answers) == 2
            assert not await answers.idle(0)
        waiting = asyncio.create_task(answers.idle(5))
        await asyncio.sleep(0)
        assert not waiting.done()
        call.ended[0](call)
        assert await waiting
        assert len(answers) == 0

    asyncio.run(run())


def test_parts_end_however_they_end() -> None:
    answers = OpenAnswers()
    with pytest.raises(ZeroDivisionError), answers.part():
        raise ZeroDivisionError
    assert len(answers) == 0


def test_nothing_new_once_the_server_ends() -> None:
    answers, call = OpenAnswers(), Call()
    answers.draining = True
    with pytest.raises(UnavailableError, match="shutting down"):
        answers.call(call)  # type: ignore[arg-type]
    assert (len(answers), call.ended) == (0, [])
