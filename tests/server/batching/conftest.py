"""A source of works without a network, and a worker without a machine: what the suites of the batcher run on."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import numpy as np
import pytest

from lqhq.runtime.geometry import Box
from lqhq.runtime.job import Call, Work
from lqhq.server.batching.batch_key import BatchKey, Model
from lqhq.server.batching.batcher import Batcher
from lqhq.server.batching.entry import Batch
from lqhq.server.batching.request import NEVER, Request

MODEL = Model("tiny", "1", "fp32", "onnx")


class Tiles:
    """`rows` stages of `tiles` works each; a stage begins when the one before is done. Checks what comes back."""

    def __init__(self, tiles: int, rows: int = 1, *, side: int = 8, role: str = "denoise") -> None:
        self.tiles, self.rows, self.side, self.role = tiles, rows, side, role
        self.asked = 0
        self.back = Counter[int]()

    @property
    def finished(self) -> bool:
        return len(self.back) == self.tiles * self.rows

    @property
    def held(self) -> int:
        return self.asked - len(self.back)

    def ready(self, limit: int) -> list[Work]:
        stage = len(self.back) // self.tiles + 1
        count = min(limit, min(stage, self.rows) * self.tiles - self.asked)
        self.asked += max(0, count)
        return [self._work(self.asked - left) for left in range(max(0, count), 0, -1)]

    def _work(self, at: int) -> Work:
        call = Call(self.role, at % self.tiles, at // self.tiles, Box(0, 0, self.side, self.side))
        return Work(cast(Any, self), call)

    def done(self, work: Work, fetch: dict[str, np.ndarray]) -> None:
        at = work.call.row * self.tiles + work.call.tile
        assert fetch["pred"].tolist() == [label(work)]  # a swapped sample turns this red
        self.back[at] += 1


def label(work: Work) -> list[float]:
    return [float(work.call.tile), float(work.call.row), float(id(work.job) % 9973)]


class Bench:
    """Submits, takes and gives back, on a clock that it sets itself. `seen` are the endings by request."""

    def __init__(self, batcher: Batcher) -> None:
        self.batcher, self.now = batcher, 0.0
        self.out: list[Batch] = []
        self.seen: dict[Request, str] = {}
        self.errors: dict[Request, BaseException | None] = {}

    def submit(self, source: Any, *, level: int = 2, deadline: float = NEVER, model: Model = MODEL) -> Request:
        request = Request(name="r", model=model, source=source, level=level, deadline_ms=deadline)
        self.batcher.submit(request, self.now)
        return request

    def take(self) -> Batch | None:
        batch = self.batcher.take(self.now)
        self.listen()
        if not isinstance(batch, Batch):
            return None
        self.out.append(batch)
        return batch

    def done(self, batch: Batch, ms: float = 1.0) -> None:
        self.out.remove(batch)
        padded = [*batch.works, *[batch.works[-1]] * (batch.size - len(batch.works))]
        fetch = {"pred": np.array([label(work) for work in padded])}
        try:
            self.batcher.done(batch, fetch, ms, self.now)
        finally:
            self.listen()

    def run(self, cost: Any, *, batches: int = 10_000) -> list[Batch]:
        """One worker, until nothing is open, or so many batches; a batch takes `cost(batch)` ms."""
        ran: list[Batch] = []
        while len(self.batcher) and len(ran) < batches:
            waited = self.batcher.take(self.now)
            self.listen()
            if isinstance(waited, Batch):
                self.out.append(waited)
                ran.append(waited)
                self.now += cost(waited)
                self.done(waited, cost(waited))
            elif len(self.batcher):
                assert self.now < waited.until_ms < NEVER  # or nothing would ever happen
                self.now = waited.until_ms
        return ran

    def listen(self) -> None:
        while self.batcher.endings:
            request, kind, error = self.batcher.endings.popleft()
            assert request not in self.seen  # each ends once
            self.seen[request], self.errors[request] = kind, error

    def served(self, batch: Batch) -> list[Request]:
        return [ticket.entry.request for ticket in batch.tickets]


def key_of(side: int = 8, role: str = "denoise") -> BatchKey:
    return BatchKey(MODEL, role, side, side)


@pytest.fixture(scope="session")
def tiles() -> type[Tiles]:
    return Tiles


@pytest.fixture(scope="session")
def bench() -> type[Bench]:
    return Bench


@pytest.fixture(scope="session")
def key() -> Any:
    return key_of
