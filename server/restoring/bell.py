"""From any thread to the event loop: something has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Bell"]


class Bell:
    """Calls what was added, on the loop that made it; however often it is rung, one call at a time is on its way.

    Whoever is added looks once by itself: what was rung before it was there has called nobody.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = False
        self._listeners: list[Callable[[], None]] = []

    def add(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def ring(self) -> None:
        """From any thread. What was changed before is seen by the listeners."""
        if self._listeners and not self._rung:
            self._rung = True
            with suppress(RuntimeError):  # the loop has ended, and whoever listened with it
                self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._rung = False  # before the listeners look: what changes from now on rings again
        for listener in self._listeners:
            listener()
