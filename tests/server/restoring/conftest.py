"""Restoration over a dispatcher that runs works in the test's own thread, at once or when it is told to; and over the
real one, with a worker process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lqhq.runtime.batch_feed import batch_feed
from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.bundle_sessions import open_sessions
from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.geometry import Box
from lqhq.server.admission.ledger import Ledger
from lqhq.server.batching.batch_key import BatchKey, Model
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.request import Ending, Request
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.dispatch.dispatcher import Dispatcher
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.models.batch_sizes import BatchSizes
from lqhq.server.models.models import Models
from lqhq.server.restoring.ask import Accepted, Ask, Outcome, Restored
from lqhq.server.restoring.limits import batching_of, limits_of
from lqhq.server.restoring.pixel_threads import PixelThreads
from lqhq.server.restoring.restoring import Restoring
from lqhq.server.v2.options import Delivery, Options, Urgency
from lqhq.server.workers.opening import Opened, Opening

SETTINGS: dict[str, Any] = {"memory": 1 << 30, "threads": 1, "allow_unverified": True}


class Hands:
    """Stands for the dispatcher. `by_hand`: works run when the test says so."""

    def __init__(self, book: CostBook) -> None:
        self.book, self.by_hand = book, False
        self.sessions: dict[Model, Any] = {}
        self.open: dict[Request, Callable[[Ending], None]] = {}
        self.cancelled: list[str] = []
        self.failure: Exception | None = None

    def load(self, model: Model, opening: Opening) -> Future[Opened]:
        bundle: Bundle = open_bundle(opening.path)
        self.sessions[model] = open_sessions(bundle, opening.engine, opening.precision, Setup(threads=1))
        shapes = EngineShapes.of(self.sessions[model], bundle.manifest)
        future: Future[Opened] = Future()
        opened = Opened(shapes=shapes, engine_version="1.0", precision="fp32", device="cpu", seconds=0.1, checked=None)
        future.set_result(opened)
        return future

    def unload(self, model: Model) -> Future[None]:
        self.sessions.pop(model)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def submit(self, request: Request, ended: Callable[[Ending], None]) -> None:
        self.open[request] = ended
        if not self.by_hand:
            self.run(request)

    def cancel(self, request: Request) -> None:
        if request in self.open:
            self.cancelled.append(request.name)
            self.end(request, "cancelled")

    def run(self, request: Request, most: int | None = None) -> int:
        """Up to `most` works; how many there were."""
        count = 0
        while not request.source.finished and (most is None or count < most):
            for work in request.source.ready(1):
                if self.failure is not None:
                    self.end(request, "failed", self.failure)
                    return count
                fetch = self.sessions[request.model][work.call.role].run(batch_feed([work], 1))
                self.book.measured(BatchKey.of(request.model, work), 1, 1.0, time.monotonic() * 1e3)
                request.source.done(work, fetch)
                count += 1
        if request.source.finished:
            self.end(request, "done")
        return count

    def end(self, request: Request, kind: Any, error: Exception | None = None) -> None:
        self.open.pop(request)(Ending(request, kind, error))

    @property
    def only(self) -> Request:
        (request,) = self.open
        return request


class Listener:
    """A follower that remembers; `slow_s` is what it takes for each thing, `fault` what it raises of tiles."""

    def __init__(self, *, slow_s: float = 0.0, fault: Exception | None = None) -> None:
        self.slow_s, self.fault = slow_s, fault
        self.accepted_: list[Accepted] = []
        self.progresses: list[tuple[int, int, float]] = []
        self.tiles: list[tuple[Box, NDArray[Any]]] = []
        self.order: list[str] = []

    async def accepted(self, accepted: Accepted) -> None:
        self.accepted_.append(accepted)
        self.order.append("accepted")

    async def progress(self, done: int, total: int, left_s: float) -> None:
        await asyncio.sleep(self.slow_s)
        self.progresses.append((done, total, left_s))
        self.order.append("progress")

    async def tile(self, box: Box, pixels: NDArray[Any]) -> None:
        await asyncio.sleep(self.slow_s)
        if self.fault is not None:
            raise self.fault
        self.tiles.append((box, pixels.copy()))
        self.order.append("tile")


@dataclass
class Desk:
    """All that a request goes through; `lines` is the log."""

    restoring: Restoring
    models: Models
    hands: Hands
    ledger: Ledger
    book: CostBook
    metrics: Metrics
    pool: PixelThreads
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def restore(self, image: Any, follower: Any = None, **parts: Any) -> Restored:
        """In a task of its own, as calls are."""
        return await asyncio.create_task(self.restoring.restore(asked(image, **parts), follower))

    async def outcome(self, image: Any, **parts: Any) -> Outcome:
        return (await self.restore(image, **parts)).outcome

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what other threads do."""
        async with asyncio.timeout(5):
            while not true():
                await asyncio.sleep(0.002)

    async def empty(self) -> None:
        """Wait until nothing is held any more, and see that nothing is."""
        await self.until(lambda: not self.ledger.held)
        assert await self.restoring.idle(1)
        assert not self.hands.open


def asked(
    image: Any,
    *,
    id: str = "r1",
    model: str = "tiny",
    version: int = 0,
    mask: Any = None,
    delivery: Delivery | None = None,
    urgency: Urgency | None = None,
    deadline_s: float | None = None,
    progress: bool = False,
    tiles: bool = False,
    **options: Any,
) -> Ask:
    native = Delivery(format="png" if isinstance(image, bytes) else "tensor")
    return Ask(
        id=id,
        model=model,
        version=version,
        image=image,
        mask=mask,
        options=Options(**options),
        delivery=delivery or native,
        urgency=urgency or Urgency(),
        deadline_s=deadline_s,
        progress=progress,
        tiles=tiles,
    )


@pytest.fixture
def desk() -> Callable[..., Any]:
    """`async with desk(bundle, **config) as one`: a `Desk` that serves the bundle in that folder."""

    @asynccontextmanager
    async def build(*folders: Path, clock: Callable[[], float] = time.monotonic, **config: Any) -> AsyncIterator[Desk]:
        bundles = tuple(f"{folder.name}={folder}" for folder in folders)
        settings = ServeConfig(**({"bundles": bundles, "memory": 1 << 30} | config))
        book, metrics, lines = CostBook(), Metrics(), list[tuple[str, dict[str, Any]]]()
        hands, ledger, pool = Hands(book), Ledger(limits_of(settings)), PixelThreads(1)

        def log(event: str, **fields: Any) -> None:
            lines.append((event, fields))

        models = Models(hands, settings, metrics, log, sizes=BatchSizes(settings.batch))
        restoring = Restoring(
            models, hands, ledger, book, settings, metrics, log, pool=pool, batching=batching_of(settings), clock=clock
        )
        await models.start()
        assert models.all_ready, lines
        yield Desk(restoring, models, hands, ledger, book, metrics, pool, lines)
        pool.close()
        await models.close()

    return build


@pytest.fixture
def ask() -> Callable[..., Ask]:
    """`ask(image, model="tiny", mask=None, delivery=None, ..., **options)`."""
    return asked


@pytest.fixture
def listener() -> type[Listener]:
    return Listener


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """More than one tile of the small bundles."""
    return np.random.default_rng(7).integers(0, 256, (40, 56, 3), np.uint8)


@pytest.fixture(scope="module")
def crew() -> Iterator[Any]:
    """A dispatcher with one worker, for the whole suite: processes take a second to start."""
    config = ServeConfig(bundles=("demo",), **SETTINGS)
    one = SimpleNamespace(sizes=BatchSizes(1), book=CostBook(), metrics=Metrics(), lines=[], served=0)

    def log(event: str, **fields: Any) -> None:
        one.lines.append((event, fields))

    one.log = log
    one.dispatcher = Dispatcher(
        ("cpu",), config=batching_of(config), sizes=one.sizes, book=one.book, observer=one.metrics, log=log
    )
    one.dispatcher.start()
    until = time.monotonic() + 60
    while not one.dispatcher.ready and time.monotonic() < until:
        time.sleep(0.01)
    yield one
    one.dispatcher.close()


@pytest.fixture
def serving(crew: Any) -> Callable[..., Any]:
    """`async with serving(folder) as one`: `one.restore`, `one.models`, `one.ledger`."""

    @asynccontextmanager
    async def serve(source: Path | str, **fields: Any) -> AsyncIterator[Any]:
        crew.served += 1  # a name for each: what calls of one took tells nothing of another
        config = ServeConfig(bundles=(f"m{crew.served}={source}",), **(SETTINGS | fields))
        models = Models(crew.dispatcher, config, crew.metrics, crew.log, sizes=crew.sizes)
        ledger, pool = Ledger(limits_of(config)), PixelThreads(2)
        restoring = Restoring(
            models,
            crew.dispatcher,
            ledger,
            crew.book,
            config,
            crew.metrics,
            crew.log,
            pool=pool,
            batching=batching_of(config),
        )
        await models.start()
        assert models.all_ready, crew.lines

        async def restore(asked: Any) -> Any:
            return await asyncio.create_task(restoring.restore(asked))  # in a task of its own, as calls are

        yield SimpleNamespace(restore=restore, models=models, ledger=ledger)
        await models.unload(f"m{crew.served}")
        async with asyncio.timeout(10):
            while ledger.held or any(entry.state != "UNAVAILABLE" for entry in models.index()):
                await asyncio.sleep(0.01)
        pool.close()
        await models.close()

    return serve
