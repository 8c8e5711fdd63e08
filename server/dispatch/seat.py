"""A device, the worker that is on it now, and what that was given."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lqhq.server.batching.entry import Batch
from lqhq.server.workers.messages import Close, Open
from lqhq.server.workers.sheets import Written
from lqhq.server.workers.worker import Worker

__all__ = ["Given", "Seat", "seat_names"]

MOST_GIVEN = 2  # one that runs, one that waits in the worker's socket


class Given(NamedTuple):
    """A batch that was sent, where its feed lies, and how long that took to make."""

    batch: Batch
    written: Written
    in_ms: float


def seat_names(devices: Sequence[str]) -> tuple[str, ...]:
    """A name for each: the device, from its second worker on with a number, like `cpu#2`."""
    counts = Counter[str]()
    names = []
    for device in devices:
        counts[device] += 1
        names.append(device if counts[device] == 1 else f"{device}#{counts[device]}")
    return tuple(names)


@dataclass(slots=True, eq=False)
class Seat:
    """`worker` is None while there is none; it is `live` when it listens and has opened all models.

    `proven` says that it has run a batch, and `early_losses` how many workers in a row have not, and died young.
    `given` are batches by number, in the order in which they were sent; the first has run since `busy_ms`. `asked` is
    the order that is not answered, since `asked_ms`: a worker opens one bundle after the other. A worker that was lost
    is `dying` until the system has taken back all that it had. `fault` is why it is to be given up.
    """

    device: str
    name: str  # of the seat: the device, numbered where several workers are on it
    worker: Worker | None = None
    dying: Worker | None = None
    fault: str = ""
    listens: bool = False
    live: bool = False
    given: dict[int, Given] = field(default_factory=dict)
    busy_ms: float = 0.0
    orders: deque[Open | Close] = field(default_factory=deque)
    asked: Open | Close | None = None
    asked_ms: float = 0.0
    started_ms: float = 0.0
    again_ms: float = 0.0  # no worker is started before
    proven: bool = False
    early_losses: int = 0

    @property
    def room(self) -> bool:
        """Whether it takes another batch."""
        return self.live and not self.fault and len(self.given) < MOST_GIVEN

    def vacate(self) -> None:
        """The worker is gone, and with it what it knew."""
        self.dying, self.worker, self.fault = self.worker, None, ""
        self.listens = self.live = self.proven = False
        self.given.clear()
        self.orders.clear()
        self.asked = None
