"""Who has which model open, who waits for that, and what is believed of a model whose workers die."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.errors import CancelledError, EngineError
from lqhq.server.batching.batch_key import Model
from lqhq.server.dispatch.catalogue import Catalogue
from lqhq.server.dispatch.seat import Seat
from lqhq.server.workers.messages import Close, Open
from lqhq.server.workers.opening import Opened, Opening

MODEL, OTHER = (Model(name, "1.1", "fp32", "onnx") for name in ("one", "other"))
OPENING = Opening(path="/b", sha256="ab", device="")
ERROR = EngineError("x", found="a", expected="b", mend="c")


def opened(device: str) -> Opened:
    return Opened(shapes=EngineShapes(), engine_version="1", precision="fp32", device=device, seconds=0.5, checked=None)


class Office:
    """Two seats whose workers listen, and their catalogue; what is ordered is answered by the test."""

    def __init__(self) -> None:
        self.seats = (Seat("cuda:0", "cuda:0"), Seat("cuda:1", "cuda:1"))
        self.catalogue = Catalogue(self.seats)
        for seat in self.seats:
            self.listen(seat)

    def listen(self, seat: Seat) -> None:
        seat.listens = True
        self.catalogue.listens(seat)

    def load(self, model: Model = MODEL) -> Future[Opened]:
        future = Future[Opened]()
        self.catalogue.load(model, OPENING, future)
        return future

    def unload(self, model: Model = MODEL) -> Future[None]:
        future = Future[None]()
        self.catalogue.unload(model, future)
        return future

    def ask(self, seat: Seat) -> Open | Close:
        seat.asked = seat.orders.popleft()
        return seat.asked

    def answer(self, seat: Seat, error: EngineError | None = None) -> None:
        asked, seat.asked = seat.asked, None
        assert asked is not None
        if isinstance(asked, Close):
            self.catalogue.closed(seat, asked.model)
        elif error:
            self.catalogue.not_opened(asked.model, error)
        else:
            self.catalogue.opened(seat, asked.model, opened(seat.device))

    def all(self, seat: Seat) -> list[Open | Close]:
        """Ask and answer until there is nothing left."""
        asked = []
        while seat.orders:
            asked.append(self.ask(seat))
            self.answer(seat)
        return asked

    def lose(self, seat: Seat) -> object:
        broken = self.catalogue.lost(seat)
        seat.listens = False
        seat.orders.clear()
        seat.asked = None
        return broken


@pytest.fixture
def office() -> Office:
    return Office()


def test_a_model_is_there_when_every_seat_has_it(office: Office) -> None:
    one, two = office.seats
    future = office.load()
    asked = office.ask(one)
    assert isinstance(asked, Open)
    assert asked.opening.device == "cuda:0"
    office.answer(one)
    assert not future.done()
    assert [order.opening.device for order in office.all(two) if isinstance(order, Open)] == ["cuda:1"]
    assert future.result(0).device == "cuda:0"
    found = office.catalogue.find(MODEL)
    assert found is not None
    assert found.loading is None
    again = office.load()
    assert isinstance(again.exception(0), ValueError)
    assert office.catalogue.find(OTHER) is None


def test_one_seat_that_cannot_open_it_has_it_closed_everywhere(office: Office) -> None:
    one, two = office.seats
    future = office.load()
    office.all(one)
    office.ask(two)
    office.answer(two, ERROR)
    assert future.exception(0) is ERROR
    assert [type(order) for order in office.all(one)] == [Close]
    assert office.catalogue.find(MODEL) is None
    assert not office.load().done()  # it may be tried again


def test_a_model_that_goes_while_it_comes(office: Office) -> None:
    one, two = office.seats
    coming = office.load()
    office.ask(one)
    going = office.unload()
    assert isinstance(coming.exception(0), EngineError)
    assert not two.orders  # it had not begun there
    office.answer(one)
    assert not going.done()
    assert [type(order) for order in office.all(one)] == [Close]
    assert going.done()
    assert office.unload().done()  # it is not there


@pytest.mark.parametrize("opens", [True, False])
def test_a_model_that_goes_while_it_does_not_come(office: Office, opens: bool) -> None:
    one, _ = office.seats
    office.load()
    office.ask(one)
    going = office.unload()
    office.answer(one, None if opens else ERROR)
    assert going.done() is not opens
    office.all(one)
    assert going.done()


def test_a_new_worker_opens_everything_but_checks_nothing(office: Office) -> None:
    one, two = office.seats
    for model in (MODEL, OTHER):
        office.load(model)
    for seat in office.seats:
        assert [order.opening.check for order in office.all(seat) if isinstance(order, Open)] == [True, True]
    assert office.lose(two) is None
    office.listen(two)
    assert [order.opening.check for order in office.all(two) if isinstance(order, Open)] == [False, False]
    assert not one.orders


def test_what_is_to_go_goes_with_the_worker(office: Office) -> None:
    one, two = office.seats
    office.load()
    for seat in office.seats:
        office.all(seat)
    going = office.unload()
    office.all(one)
    assert not going.done()
    office.lose(two)
    assert going.done()
    office.listen(two)
    assert not two.orders


def test_a_model_whose_first_opening_ends_a_worker_is_not_tried_again(office: Office) -> None:
    one, _ = office.seats
    future = office.load()
    office.ask(one)
    assert office.lose(one) is None
    assert "lost while it opened" in str(future.exception(0))
    office.listen(one)
    assert not one.orders


def test_a_model_that_was_open_is_tried_twice(office: Office) -> None:
    one, two = office.seats
    for model in (MODEL, OTHER):
        office.load(model)
    for seat in office.seats:
        office.all(seat)
    broken = []
    for _ in range(2):
        office.lose(one)
        office.listen(one)
        office.ask(one)
        broken.append(office.lose(one))
        found = office.catalogue.find(MODEL)
        assert found is not None
        if broken[-1] is None:
            assert found.error is None
    assert broken[0] is None
    assert broken[1] is found
    assert "lost while it opened" in str(found.error)
    office.listen(one)
    (other,) = office.all(one)
    assert isinstance(other, Open)
    assert other.model != found.number
    going = office.unload()
    office.all(two)
    assert going.done()


def test_a_model_that_fails_again_is_well_when_it_opens(office: Office) -> None:
    one, _ = office.seats
    office.load()
    for seat in office.seats:
        office.all(seat)
    office.lose(one)
    office.listen(one)
    office.ask(one)
    office.answer(one, ERROR)
    found = office.catalogue.find(MODEL)
    assert found is not None
    assert found.error is ERROR
    office.lose(one)
    office.listen(one)
    office.all(one)
    assert found.error is None


def test_nobody_waits_for_ever(office: Office) -> None:
    first, second = office.load(), office.load(OTHER)
    office.catalogue.refuse(ERROR)
    assert first.exception(0) is second.exception(0) is ERROR
    third = office.load()
    for seat in office.seats:
        office.all(seat)
    assert third.done()
    going, coming = office.unload(), office.load(OTHER)
    end = CancelledError("x", found="a", expected="b", mend="c")
    office.catalogue.close(end)
    assert coming.exception(0) is end
    assert going.result(0) is None
