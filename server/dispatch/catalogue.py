"""The models that are loaded, or on their way in or out, and who waits for that."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

import msgspec

from lqhq.runtime.errors import EngineError, LqhqError
from lqhq.server.batching.batch_key import Model
from lqhq.server.dispatch.seat import Seat
from lqhq.server.workers.messages import Close, Open
from lqhq.server.workers.opening import Opened, Opening

__all__ = ["Catalogue", "Loaded"]

MOST_LOSSES = 2  # of workers that opened a model which was open before: no third is risked


@dataclass(slots=True, eq=False)
class Loaded:
    """A model that was asked for, under the number by which workers know it.

    `loading` is there until every seat has opened it for the first time, `unloading` from when it is to go. `error`
    says why no request can run: a worker could not open it again.
    """

    number: int
    model: Model
    opening: Opening
    loading: Future[Opened] | None
    unloading: Future[None] | None = None
    error: LqhqError | MemoryError | None = None
    losses: int = 0
    seats: set[Seat] = field(default_factory=set)  # where it is open
    first: Opened | None = None

    def on(self, seat: Seat) -> Open:
        """What the worker of `seat` is told."""
        return Open(self.number, msgspec.structs.replace(self.opening, device=seat.device))


class Catalogue:
    """Knows which models each seat is to have, and answers futures. It sends nothing: it fills the seats' `orders`."""

    def __init__(self, seats: tuple[Seat, ...]) -> None:
        self._seats = seats
        self._loaded: dict[int, Loaded] = {}
        self._numbers = 0

    def find(self, model: Model) -> Loaded | None:
        """The model that requests are run on."""
        return next((one for one in self._loaded.values() if one.model == model and one.unloading is None), None)

    def load(self, model: Model, opening: Opening, loading: Future[Opened]) -> None:
        """Every seat opens it. `ValueError` in the future for one that is there."""
        if self.find(model) is not None:
            loading.set_exception(ValueError(f"{model} is loaded already"))
            return
        self._numbers += 1
        one = self._loaded[self._numbers] = Loaded(self._numbers, model, opening, loading)
        for seat in self._seats:
            if seat.listens:
                seat.orders.append(one.on(seat))

    def unload(self, model: Model, unloading: Future[None]) -> None:
        """Every seat closes it; a model that is not there is gone at once."""
        one = self.find(model)
        if one is None:
            unloading.set_result(None)
            return
        one.unloading = unloading
        self._drop(one, _unloaded(one))

    def listens(self, seat: Seat) -> None:
        """The worker of `seat` is there, and has nothing open."""
        hopeless = [one for one in self._loaded.values() if one.losses >= MOST_LOSSES]
        seat.orders.extend(
            one.on(seat) for one in self._loaded.values() if one.unloading is None and one not in hopeless
        )

    def opened(self, seat: Seat, number: int, opened: Opened) -> None:
        one = self._loaded[number]
        one.seats.add(seat)
        one.first = one.first or opened
        if len(one.seats) == len(self._seats):
            one.error, one.losses = None, 0
            # What was checked once on a machine need not be again when a worker is replaced.
            one.opening = msgspec.structs.replace(one.opening, check=False)
            if one.loading is not None and one.unloading is None:
                one.loading.set_result(one.first)
                one.loading = None

    def not_opened(self, number: int, error: LqhqError | MemoryError) -> Loaded | None:
        """A load that failed is over; a model that was open before is returned, and its requests cannot be run."""
        one = self._loaded[number]
        if one.unloading is not None:
            self._end()
            return None
        if one.loading is not None:
            self._drop(one, error)
            return None
        one.error = error
        return one

    def closed(self, seat: Seat, number: int) -> None:
        if number in self._loaded:
            self._loaded[number].seats.discard(seat)
            self._end()

    def lost(self, seat: Seat) -> Loaded | None:
        """The worker of `seat` is lost: nothing is open there. What it was opening may have been why.

        Returns the model whose requests cannot be run any more, if there is one.
        """
        asked = seat.asked
        for one in self._loaded.values():
            one.seats.discard(seat)
        broken = None
        if isinstance(asked, Open) and asked.model in self._loaded:
            one = self._loaded[asked.model]
            one.losses += 1
            if one.loading is not None or one.losses >= MOST_LOSSES:
                broken = self.not_opened(asked.model, _lost(one))
        self._end(without=seat)
        return broken

    def refuse(self, error: LqhqError) -> None:
        """No worker comes up: who waits for a model is told."""
        for one in list(self._loaded.values()):
            if one.loading is not None and one.unloading is None:
                self._drop(one, error)

    def close(self, error: LqhqError) -> None:
        """Answer everybody."""
        for one in self._loaded.values():
            if one.loading is not None:
                one.loading.set_exception(error)
            if one.unloading is not None:
                one.unloading.set_result(None)
        self._loaded.clear()

    def _drop(self, one: Loaded, error: LqhqError | MemoryError) -> None:
        """Have it closed where it is open or on its way; whoever waited for it to open gets `error`."""
        if one.loading is not None:
            one.loading.set_exception(error)
            one.loading = None
        if one.unloading is None:
            one.unloading = Future()
        for seat in self._seats:
            seat.orders = type(seat.orders)(
                order for order in seat.orders if not (isinstance(order, Open) and order.model == one.number)
            )
            if seat in one.seats or self._opening(seat, one):
                seat.orders.append(Close(one.number))
        self._end()

    def _opening(self, seat: Seat, one: Loaded) -> bool:
        return isinstance(seat.asked, Open) and seat.asked.model == one.number

    def _end(self, without: Seat | None = None) -> None:
        """Models that are to go and are open nowhere are gone."""
        for one in list(self._loaded.values()):
            if one.unloading is None or one.seats:
                continue
            if any(seat is not without and self._opening(seat, one) for seat in self._seats):
                continue
            del self._loaded[one.number]
            one.unloading.set_result(None)


def _unloaded(one: Loaded) -> EngineError:
    return EngineError(
        f"model {one.model.bundle}",
        found=f"version {one.model.version}, which is being unloaded",
        expected="a model that stays",
        mend="Ask for the version that is served now.",
    )


def _lost(one: Loaded) -> EngineError:
    return EngineError(
        f"model {one.model.bundle}",
        found="a worker process that was lost while it opened the bundle",
        expected="one that lives",
        mend="The server's log says how it ended. Its memory may have run out: serve fewer models, or smaller ones.",
    )
