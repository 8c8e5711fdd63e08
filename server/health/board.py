"""What is ready, by the names that health services are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SERVICES", "HealthBoard"]

SERVICES = ("", "lqhq.v1.Restoration", "inference.GRPCInferenceService")  # "" is the server


class HealthBoard:
    """Used on the event loop alone. Whoever watches is woken, and reads what holds then: changes are not queued."""

    def __init__(self) -> None:
        self._states: dict[str, bool] = dict.fromkeys(SERVICES, False)
        self._drained = False
        self._watchers: set[asyncio.Event] = set()

    def server(self, ready: bool) -> None:
        """The server and its two services."""
        self._put(dict.fromkeys(SERVICES, ready))

    def model(self, name: str, ready: bool) -> None:
        """A model of that name; one that is called like a service has no health of its own."""
        if name not in SERVICES:
            self._put({name: ready})

    def drain(self) -> None:
        """Nothing is ready from now on, whatever is said later."""
        self._put(dict.fromkeys(self._states, False))
        self._drained = True

    def ready(self, name: str) -> bool | None:
        """None for a name that nobody knows."""
        return self._states.get(name)

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        """An event that is set at each change; whoever waits for it clears it."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            yield changed
        finally:
            self._watchers.discard(changed)

    def _put(self, states: dict[str, bool]) -> None:
        before = dict(self._states)
        for name, ready in states.items():
            self._states[name] = ready and not self._drained
        if self._states != before:
            self._wake()

    def _wake(self) -> None:
        for changed in self._watchers:
            changed.set()
