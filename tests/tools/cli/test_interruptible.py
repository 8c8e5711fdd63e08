"""Coroutines under signals."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from lqhq.tools.cli.interruptible import run_until_signal


def test_a_result_comes_back() -> None:
    async def work() -> int:
        return 3

    assert run_until_signal(work()) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_and_cleans_up(number: int) -> None:
    ended = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(10)
        finally:
            ended.append(True)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run_until_signal(work())
    assert ended == [True]
    assert signal.getsignal(number) == before


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def work() -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.05)
        return "went on"

    try:
        assert run_until_signal(work()) == "went on"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_planted_a_handler_that_raises_in_the_loop_is_told_apart() -> None:
    """What `run_until_signal` is there for: an error of the work comes out as it is."""

    async def work() -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        run_until_signal(work())
