"""One dispatcher with a real worker for a whole module, and bundles that are loaded into it for one test."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.planner import Planner
from lqhq.runtime.restoration import Restoration
from lqhq.server.batching.batch_key import BatchKey, Model
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.request import NEVER, Ending, Request, WorkSource
from lqhq.server.dispatch.dispatcher import Dispatcher, clock_ms
from lqhq.server.dispatch.patience import Patience
from lqhq.server.workers.opening import Opening
from lqhq.server.workers.start import Start, start_worker

PATIENCE_S = 30.0  # for what happens at once where nothing else runs
FOURS = "fours"  # models whose name begins so are run in batches of four


class Notes:
    """An observer that remembers, and a log."""

    def __init__(self) -> None:
        self.batches: list[tuple[BatchKey, int, int]] = []
        self.lost: list[str] = []
        self.ready: list[str] = []
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def batch(self, key: BatchKey, size: int, works: int, in_ms: float, run_ms: float, out_ms: float) -> None:
        assert in_ms > 0
        assert run_ms > 0
        assert out_ms > 0
        self.batches.append((key, size, works))

    def worker_lost(self, device: str, reason: str) -> None:
        self.lost.append(reason)

    def worker_ready(self, device: str) -> None:
        self.ready.append(device)

    def log(self, event: str, /, **fields: Any) -> None:
        self.lines.append((event, fields))

    def said(self, event: str) -> int:
        return Counter(name for name, _ in self.lines)[event]


@dataclass(eq=False)
class Asked:
    """A request that was submitted, and how it ended, once it has."""

    request: Request
    ended: threading.Event = field(default_factory=threading.Event)
    endings: list[Ending] = field(default_factory=list)

    def hear(self, ending: Ending) -> None:
        self.endings.append(ending)
        self.ended.set()

    def wait(self) -> Ending:
        assert self.ended.wait(PATIENCE_S)
        (ending,) = self.endings
        return ending

    def result(self) -> np.ndarray:
        ending = self.wait()
        assert ending.kind == "done", ending
        assert isinstance(self.request.source, Restoration)
        return self.request.source.result()


class House:
    """A dispatcher, and what it was heard to do."""

    def __init__(self, devices: tuple[str, ...] = ("cpu",), start: Start = start_worker, **patience: float) -> None:
        self.notes = Notes()
        self.dispatcher = Dispatcher(
            devices,
            config=BatchingConfig(window_ms=1.0),
            sizes=lambda key: (4,) if key.model.bundle.startswith(FOURS) else (1,),
            book=CostBook(),
            observer=self.notes,
            log=self.notes.log,
            patience=Patience(**patience),
            start=start,
        )
        self.dispatcher.start()

    def until(self, true: Callable[[], object]) -> None:
        """Wait until it is so."""
        limit = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < limit, self.notes.lines
            time.sleep(0.001)

    def submit(self, model: Model, source: WorkSource, *, level: int = 2, deadline_ms: float = NEVER) -> Asked:
        asked = Asked(Request(name="r", model=model, source=source, level=level, deadline_ms=deadline_ms))
        self.dispatcher.submit(asked.request, asked.hear)
        return asked


@dataclass(frozen=True)
class Served:
    """A loaded bundle."""

    house: House
    folder: Path
    model: Model
    planner: Planner

    def ask(self, image: np.ndarray, *, level: int = 2, in_ms: float = NEVER, **options: Any) -> Asked:
        source = self.planner.restoration(image, **options)
        return self.house.submit(self.model, source, level=level, deadline_ms=clock_ms() + in_ms)


def opening_of(folder: Path, **fields: Any) -> Opening:
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    return Opening(**{"path": str(folder), "sha256": digest, "threads": 1, "check": False} | fields)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    house = House()
    house.until(lambda: house.dispatcher.ready)
    yield house
    house.dispatcher.close()


@pytest.fixture
def new_house() -> Iterator[Callable[..., House]]:
    """`new_house(devices, start, **patience)`, closed at the end."""
    houses: list[House] = []

    def build(*args: Any, **fields: Any) -> House:
        houses.append(House(*args, **fields))
        return houses[-1]

    yield build
    for house in houses:
        house.dispatcher.close()


@pytest.fixture
def served(house: House) -> Iterator[Callable[..., Served]]:
    """`served(folder, version="1.1", name=None)`, unloaded at the end; `inside` is another house."""
    models: list[tuple[House, Model]] = []

    def load(folder: Path, *, version: str = "1.1", name: str | None = None, inside: House = house) -> Served:
        bundle = open_bundle(folder)
        model = Model(name or bundle.manifest.name, version, "fp32", "onnx")
        opened = inside.dispatcher.load(model, opening_of(folder)).result(PATIENCE_S)
        models.append((inside, model))
        return Served(inside, folder, model, Planner(bundle, lambda: opened.shapes))

    yield load
    for inside, model in models:
        inside.dispatcher.unload(model).result(PATIENCE_S)


@pytest.fixture
def opening() -> Callable[..., Opening]:
    return opening_of
