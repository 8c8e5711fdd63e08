"""A dispatcher that opens nothing: it answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.errors import EngineError
from lqhq.server.batching.batch_key import Model
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.models.batch_sizes import BatchSizes
from lqhq.server.models.models import Models
from lqhq.server.workers.opening import Opened, Opening

OPENED = Opened(shapes=EngineShapes(), engine_version="1.0", precision="fp32", device="cpu", seconds=0.25, checked=None)


@dataclass
class Clerk:
    """`slow`: futures wait in `waiting` for the test. `broken`: nothing opens."""

    slow: bool = False
    broken: bool = False
    open: dict[Model, Opening] = field(default_factory=dict)
    waiting: list[Future[Opened]] = field(default_factory=list)

    def load(self, model: Model, opening: Opening) -> Future[Opened]:
        future: Future[Opened] = Future()
        if self.broken:
            error = EngineError(opening.path, found="no such device", expected="one", mend="Buy one.")
            future.set_exception(error)
            return future
        self.open[model] = opening
        if self.slow:
            self.waiting.append(future)
        else:
            future.set_result(OPENED)
        return future

    def release(self) -> None:
        """Open what waits."""
        for future in self.waiting:
            future.set_result(OPENED)

    def unload(self, model: Model) -> Future[None]:
        del self.open[model]
        future: Future[None] = Future()
        future.set_result(None)
        return future


@dataclass
class House:
    """`Models` over a clerk; `lines` is what was logged."""

    models: Models
    clerk: Clerk
    metrics: Metrics
    sizes: BatchSizes
    lines: list[tuple[str, dict[str, Any]]]
    changes: list[str]

    def states(self) -> list[tuple[str, int, str]]:
        return [(one.name, one.version, one.state) for one in self.models.index()]

    async def settled(self) -> None:
        """Let what goes on in the background end."""
        for _ in range(20):
            await asyncio.sleep(0.005)


@pytest.fixture
def house() -> Callable[..., House]:
    """`house(folder=None, *bundles, clerk=Clerk(), **config)`: to be called on a running loop."""

    def build(folder: Path | None = None, *bundles: str, clerk: Clerk | None = None, **config: Any) -> House:
        clerk, metrics, sizes = clerk or Clerk(), Metrics(), BatchSizes(4)
        lines: list[tuple[str, dict[str, Any]]] = []
        changes: list[str] = []
        settings = ServeConfig(bundles=bundles, model_dir=folder, **config)
        models = Models(
            clerk,
            settings,
            metrics,
            lambda event, **fields: lines.append((event, fields)),
            sizes=sizes,
            changed=lambda: changes.append("changed"),
        )
        return House(models, clerk, metrics, sizes, lines, changes)

    return build


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()
