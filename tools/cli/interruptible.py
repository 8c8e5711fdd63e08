"""Coroutines that end like the rest of the command line on a signal: their tasks are cancelled, then it is Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run_until_signal"]

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # SIGINT is asyncio's own


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on a loop of its own; SIGINT, SIGTERM and SIGHUP cancel it. Raises `KeyboardInterrupt` then.

    A Python handler that raises in the middle of the loop, as ours do elsewhere, would leave tasks without an end.
    """
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
    before = {number: signal.getsignal(number) for number in heard}

    async def whole() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        for number in heard:
            loop.add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # the loop leaves the default, which kills
