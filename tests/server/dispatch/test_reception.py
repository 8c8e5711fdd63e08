"""Who is let in, and that everybody hears once how it ended."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.errors import EngineError
from lqhq.server.batching.batch_key import Model
from lqhq.server.batching.batcher import Batcher
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.request import NEVER, Ending, Request
from lqhq.server.dispatch.catalogue import Catalogue
from lqhq.server.dispatch.reception import Reception
from lqhq.server.dispatch.seat import Seat
from lqhq.server.workers.opening import Opened, Opening

MODEL, COMING = (Model(name, "1.1", "fp32", "onnx") for name in ("here", "coming"))
OPENED = Opened(shapes=EngineShapes(), engine_version="1", precision="fp32", device="cpu", seconds=0.5, checked=None)


class Source:
    def __init__(self, finished: bool | Exception = False) -> None:
        self._finished = finished

    @property
    def finished(self) -> bool:
        if isinstance(self._finished, Exception):
            raise self._finished
        return self._finished


class Door:
    def __init__(self) -> None:
        seat = Seat("cpu", "cpu", listens=True)
        self.catalogue = Catalogue((seat,))
        for model in (MODEL, COMING):
            self.catalogue.load(model, Opening(path="/b", sha256=""), Future[Opened]())
        self.catalogue.opened(seat, 1, OPENED)
        self.batcher = Batcher(BatchingConfig(), lambda key: (1,), CostBook())
        self.lines: list[str] = []
        self.reception = Reception(self.batcher, self.catalogue, lambda event, **fields: self.lines.append(event))
        self.heard: list[Ending] = []

    def submit(self, source: Any = None, model: Model = MODEL, deadline: float = NEVER) -> Request:
        request = Request(name="r", model=model, source=source or Source(), level=1, deadline_ms=deadline)
        self.reception.submit(request, self.heard.append, 0.0)
        return request

    def kinds(self) -> list[str]:
        self.reception.tell()
        kinds = [ending.kind for ending in self.heard]
        self.heard.clear()
        return kinds


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.parametrize("model", [COMING, Model("gone", "1.1", "fp32", "onnx")])
def test_only_what_is_loaded_is_let_in(door: Door, model: Model) -> None:
    door.submit(model=model)
    (ending,) = door.heard
    assert "not loaded" in str(ending.error)
    assert not door.reception


def test_what_cannot_be_opened_again_is_refused_with_the_reason(door: Door) -> None:
    error = EngineError("x", found="a", expected="b", mend="c")
    door.catalogue.not_opened(1, error)
    door.submit()
    assert door.heard[0].error is error


def test_everybody_hears_once(door: Door) -> None:
    first, _ = door.submit(deadline=50.0), door.submit(deadline=40.0)
    assert door.reception.earliest_ms == 40.0
    assert door.reception.changed
    door.reception.changed = False
    door.reception.cancel(first)
    assert door.reception.changed
    door.reception.cancel(first)
    assert door.kinds() == ["cancelled"]
    door.submit(Source(finished=True))
    assert door.kinds() == ["done"]
    door.reception.fail_all(MODEL)
    assert door.kinds() == ["failed"]
    assert door.kinds() == []
    assert door.reception.earliest_ms == NEVER
    door.reception.fail_all(MODEL)
    door.submit()
    door.reception.cancel_all()
    assert door.kinds() == ["cancelled"]


def test_a_source_that_is_wrong_from_the_start(door: Door) -> None:
    error = ZeroDivisionError("wrong")
    door.submit(Source(error))
    door.reception.tell()
    (ending,) = door.heard
    assert (ending.kind, ending.error) == ("failed", error)
    assert len(door.batcher) == 0


def test_one_who_does_not_listen_keeps_nobody_from_hearing(door: Door) -> None:
    def deaf(ending: Ending) -> None:
        raise ValueError

    request = Request(name="deaf", model=MODEL, source=Source(True), level=1)  # type: ignore[arg-type]
    door.reception.submit(request, deaf, 0.0)
    door.submit(Source(finished=True))
    assert door.kinds() == ["done"]
    assert door.lines == ["request's end not heard"]
