"""One loaded version of a bundle: what requests need of it, and who still needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lqhq.runtime.bundle import Bundle
from lqhq.runtime.planner import Planner
from lqhq.server.batching.batch_key import Model
from lqhq.server.metrics.model_counters import ModelCounters
from lqhq.server.models.turns import Turns
from lqhq.server.workers.opening import Opened

__all__ = ["ServedModel"]


@dataclass(slots=True, eq=False, kw_only=True)
class ServedModel:
    """`key` is unlike that of any other load. `sha256` is that of manifest.json, which has the digest of every file.

    `verified` says that its parity records pass; `turns` are for restorations that need its engines alone. To be used
    on the event loop, but for `planner`.
    """

    name: str
    version: int
    key: Model
    bundle: Bundle
    sha256: str
    verified: bool
    opened: Opened
    planner: Planner
    counters: ModelCounters
    turns: Turns = field(default_factory=Turns)
    _leases: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def leased(self) -> Iterator[ServedModel]:
        """It is not closed before the block has ended."""
        self._leases += 1
        self._idle.clear()
        try:
            yield self
        finally:
            self._leases -= 1
            if not self._leases:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until nobody needs it."""
        while self._leases:
            await self._idle.wait()
