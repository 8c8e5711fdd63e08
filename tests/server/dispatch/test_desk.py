"""Which batch waits in which worker, and what becomes of it: on workers that do as the test says."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.job import Call, Work
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.tiles import plan_tiles
from lqhq.server.batching.batch_key import Model
from lqhq.server.batching.batcher import Batcher
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.request import NEVER, Ending, Request
from lqhq.server.dispatch.catalogue import Catalogue
from lqhq.server.dispatch.desk import Desk
from lqhq.server.dispatch.seat import Seat
from lqhq.server.workers import messages as m
from lqhq.server.workers.opening import Opened, Opening
from lqhq.server.workers.packets import LostError
from lqhq.server.workers.sheets import Written

MODEL = Model("one", "1.1", "fp32", "onnx")
OPENED = Opened(shapes=EngineShapes(), engine_version="1", precision="fp32", device="cpu", seconds=0.5, checked=None)


class Hand:
    """A worker that has begun the first so many batches of those that it was sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.begun = 0
        self.held: set[int] = set()
        self.places = 0
        self.feeds: dict[int, np.ndarray] = {}
        self.broken = False
        self.outputs: Any = None
        self.settled = 0
        self.alone: list[bool] = []

    def write(self, feed: Any) -> Written:
        self.places += 1
        self.held.add(self.places)
        self.feeds[self.places] = feed["x"]
        return Written(self.places, ())

    def spare(self, written: Written) -> None:
        self.held.remove(written.place)  # once

    def run(self, number: int, model: int, role: str, written: Written, *, alone: bool) -> None:
        if self.broken:
            raise LostError("broken")
        assert written.place in self.held
        self.alone.append(alone)
        self.sent.append(number)

    def withdraw(self) -> list[int]:
        back, self.sent = self.sent[self.begun :], self.sent[: self.begun]
        return back

    kill = withdraw

    def fetched(self, ran: m.Ran) -> Any:
        return self.outputs

    def settle(self, ran: m.Ran) -> None:
        self.settled += 1


class Tiles:
    """`count` works at once, whose feeds can be told apart."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count, self.asked, self.back, self.fed = name, count, 0, 0, Counter[int]()

    @property
    def finished(self) -> bool:
        return self.back == self.count

    def ready(self, limit: int) -> list[Work]:
        given = range(self.asked, min(self.asked + limit, self.count))
        self.asked = given.stop
        return [Work(self, Call("denoise", index, 0, Box(0, 0, 8, 8))) for index in given]  # type: ignore[arg-type]

    def feed(self, work: Work) -> Any:
        self.fed[work.call.tile] += 1
        return {"x": np.full((1, 1), work.call.tile, np.float32)}

    def done(self, work: Work, fetch: Any) -> None:
        self.back += 1


class Room:
    """A desk with so many hands, on a clock that stands."""

    def __init__(self, hands: int = 1, size: int = 1) -> None:
        self.hands = [Hand() for _ in range(hands)]
        self.seats = tuple(Seat(f"cuda:{index}", f"cuda:{index}") for index in range(hands))
        catalogue, loading = Catalogue(self.seats), Future[Opened]()
        catalogue.load(MODEL, Opening(path="/b", sha256=""), loading)
        for seat, hand in zip(self.seats, self.hands, strict=True):
            seat.worker, seat.listens, seat.live = hand, True, True  # type: ignore[assignment]
            catalogue.opened(seat, 1, OPENED)
        config = BatchingConfig(batches_out=2 * hands, window_ms=0)
        self.batcher = Batcher(config, lambda key: (size,), CostBook())
        self.lines: list[str] = []
        self.desk = Desk(self.batcher, self.seats, catalogue, observer=self, log=self.log)  # type: ignore[arg-type]
        self.now = 0.0

    def log(self, event: str, /, **fields: Any) -> None:
        self.lines.append(event)

    def batch(self, *_: Any) -> None: ...

    def submit(self, source: Any, *, level: int = 2, deadline: float = NEVER) -> Request:
        request = Request(name=source.name, model=MODEL, source=source, level=level, deadline_ms=deadline)
        self.batcher.submit(request, self.now)
        return request

    def fill(self, *, changed: bool = True) -> float | None:
        return self.desk.fill(self.now, changed=changed)

    def given(self, seat: int = 0) -> list[list[str]]:
        """The names of the requests of the works in each batch of a seat."""
        return [
            [ticket.entry.request.name for ticket in given.batch.tickets] for given in self.seats[seat].given.values()
        ]

    def done(self, seat: int = 0, outputs: Any = None) -> None:
        """The first batch of a seat is done, and it begins the next."""
        hand = self.hands[seat]
        number = hand.sent.pop(0)
        size = self.seats[seat].given[number].batch.size
        hand.outputs = {"y": np.zeros((size, 1), np.float32)} if outputs is None else outputs
        self.desk.back(self.seats[seat], m.Ran(number, 0, (), 1.0), self.now)

    def endings(self) -> list[Ending]:
        found = list(self.batcher.endings)
        self.batcher.endings.clear()
        return found


def test_one_runs_and_one_waits_behind_it() -> None:
    room, (hand,) = (room := Room()), room.hands
    source = Tiles("a", 5)
    room.submit(source)
    assert room.fill() == NEVER
    assert room.given() == [["a"], ["a"]]
    hand.begun = 1
    while room.seats[0].given:
        room.done()
        room.fill(changed=False)
    assert [ending.kind for ending in room.endings()] == ["done"]
    assert not hand.held
    assert hand.settled == 5
    assert set(source.fed.values()) == {1}


def test_an_urgent_one_takes_the_place_of_what_waits() -> None:
    room = Room()
    (hand,), slow = room.hands, Tiles("slow", 3)
    room.submit(slow)
    room.fill()
    hand.begun = 1
    room.submit(Tiles("urgent", 1), level=1)
    room.fill()
    assert room.given() == [["slow"], ["urgent"]]
    assert len(hand.held) == 2
    assert slow.fed == {0: 1, 1: 1}


def test_what_is_as_before_keeps_its_feed() -> None:
    room = Room()
    (hand,), first = room.hands, Tiles("first", 3)
    room.submit(first)
    room.fill()
    hand.begun = 1
    written = hand.places
    room.submit(Tiles("later", 1), level=3)
    room.fill()
    assert room.given() == [["first"], ["first"]]
    assert hand.places == written
    assert first.fed == {0: 1, 1: 1}  # a feed that is made again would be counted twice
    assert list(room.seats[0].given) == hand.sent


def test_a_batch_that_waits_is_filled_by_who_comes() -> None:
    room = Room(size=4)
    room.submit(Tiles("a", 6))
    room.fill()
    assert room.given() == [["a"] * 4, ["a"] * 2]
    room.hands[0].begun = 1
    room.submit(Tiles("b", 1))
    room.fill()
    assert room.given() == [["a"] * 4, ["a", "a", "b"]] or sorted(room.given()[1]) == ["a", "a", "b"]


def test_a_cancelled_one_does_not_wait_any_more() -> None:
    room = Room()
    gone = room.submit(Tiles("gone", 3))
    room.fill()
    room.hands[0].begun = 1
    room.submit(Tiles("stays", 3))
    room.batcher.cancel(gone)
    room.fill()
    assert room.given() == [["gone"], ["stays"]]
    room.done()  # of the one that is gone: dropped
    room.fill(changed=False)
    assert room.given() == [["stays"], ["stays"]]
    assert [ending.kind for ending in room.endings()] == ["cancelled"]


def test_one_that_expires_while_it_waits_never_runs() -> None:
    room = Room()
    room.submit(Tiles("late", 3), deadline=10.0)
    assert room.fill() == 10.0
    room.hands[0].begun = 1
    room.now = 10.0
    assert room.fill(changed=False) == NEVER  # nothing else has happened
    assert room.given() == [["late"]]  # the one that ran
    assert [ending.kind for ending in room.endings()] == ["expired"]


def test_what_has_been_begun_stays() -> None:
    room = Room()
    room.submit(Tiles("slow", 3))
    room.fill()
    room.hands[0].begun = 2  # the first is done, but was not heard of yet
    room.submit(Tiles("urgent", 1), level=1)
    room.fill()
    assert room.given() == [["slow"], ["slow"]]


def test_both_come_back_where_none_was_begun() -> None:
    room = Room()
    room.submit(Tiles("slow", 3))
    room.fill()
    room.submit(Tiles("urgent", 1), level=1)
    room.fill()
    assert room.given() == [["urgent"], ["slow"]]
    assert len(room.hands[0].held) == 2


def test_an_idle_worker_gets_what_waits_elsewhere() -> None:
    room = Room(hands=2)
    room.seats[1].live = False
    room.submit(Tiles("a", 2))
    room.fill()
    assert (room.given(0), room.given(1)) == ([["a"], ["a"]], [])
    room.hands[0].begun = 1
    room.seats[1].live = True
    room.fill(changed=False)
    assert (room.given(0), room.given(1)) == ([["a"]], [["a"]])
    assert [len(hand.held) for hand in room.hands] == [1, 1]


def test_workers_are_given_the_same() -> None:
    room = Room(hands=2)
    room.submit(Tiles("a", 8))
    room.fill()
    assert [len(room.given(seat)) for seat in (0, 1)] == [2, 2]
    room = Room(hands=2)
    room.submit(Tiles("a", 2))
    room.fill()
    assert [len(room.given(seat)) for seat in (0, 1)] == [1, 1]


def test_a_lost_worker_gives_back_what_it_had_not_begun() -> None:
    room = Room()
    source = Tiles("a", 2)
    room.submit(source)
    room.fill()
    room.hands[0].begun = 1
    room.desk.lost(room.seats[0])
    assert room.batcher.counts.lost == 1
    assert room.batcher.counts.returned == 1
    room.seats[0].worker, room.seats[0].live = None, False
    assert room.fill() is None  # there is work, and nobody
    assert room.batcher.counts.given == room.batcher.counts.lost + room.batcher.counts.returned
    room.seats[0].worker, room.seats[0].live = Hand(), True  # type: ignore[assignment]
    room.fill()
    assert room.given() == [["a"], ["a"]]


def test_a_line_that_breaks_is_the_worker_s_fault() -> None:
    room = Room()
    room.hands[0].broken = True
    room.submit(Tiles("a", 2))
    room.fill()
    assert room.seats[0].fault == "broken"


@pytest.mark.parametrize(
    "outputs", [{}, {"y": np.zeros((2, 1), np.float32)}, {"y": np.float32(1.0)}, {"y": np.zeros((0, 1), np.float32)}]
)
def test_outputs_of_another_number_of_samples_fail_the_request(outputs: Any) -> None:
    room = Room()
    room.submit(Tiles("a", 1))
    room.fill()
    room.done(outputs=outputs)
    (ending,) = room.endings()
    assert isinstance(ending.error, EngineError)
    assert "outputs" in str(ending.error)
    assert room.hands[0].settled == 1


def test_a_source_that_breaks_its_contract_ends_alone() -> None:
    class Broken(Tiles):
        def ready(self, limit: int) -> list[Work]:
            raise ZeroDivisionError

    room = Room()
    room.submit(Broken("bad", 1))
    room.submit(Tiles("good", 1))
    room.fill()
    assert room.given() == [["good"]]
    assert room.lines == ["source broken"]


def test_the_worker_is_told_of_plans_that_hold_one_engine_at_a_time() -> None:
    room = Room()
    sources = [Tiles(name, 1) for name in ("plain", "many", "one")]
    plan = plan_tiles(Size(8, 8), Size(8, 8), overlap=0, multiple=1)
    for source, alone in zip(sources[1:], (False, True), strict=True):
        source.choice = LatentChoice(  # type: ignore[attr-defined]
            plan=plan,
            factor=2,
            encode="whole",
            decode="whole",
            steps={},
            alone=alone,
            peak_bytes=1,
            engine_bytes=0,
            tile_bytes=0,
            scratch_bytes=0,
            reason="test",
        )
    for source in sources:
        room.submit(source)
    for _ in sources:
        room.fill()
        room.done()
    assert room.hands[0].alone == [False, False, True]


def test_an_answer_to_nothing_is_refused() -> None:
    room = Room()
    with pytest.raises(LostError, match="which it has not"):
        room.desk.back(room.seats[0], m.Ran(7, 0, (), 1.0), 0.0)
