"""A worker as the front process has it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from typing import Any, cast

from numpy.typing import NDArray

from lqhq.runtime.session import Feed, Fetch
from lqhq.server.workers import messages as m
from lqhq.server.workers.output import Output
from lqhq.server.workers.packets import close_files, line_pair
from lqhq.server.workers.sheets import SheetReader, SheetWriter, Written
from lqhq.server.workers.start import Start, start_worker

__all__ = ["Worker"]


class Worker:
    """For the one thread that owns it; nothing here waits for the process.

    The worker's end of the orders is open here, too: what it has not read can be taken back, and whoever reads a packet
    first has it. So a batch may be sent before the one that runs is done, and no time passes between the two.
    """

    def __init__(self, start: Start = start_worker) -> None:
        """Start a process. Raises `OSError`."""
        self._orders, self._unread = line_pair()
        self.answers, its = line_pair()
        self._feeds, self._fetches = SheetWriter(), SheetReader()
        self._free: list[int] = []
        self._kept: list[int] = []
        self._trimming = False
        try:
            self.process = start(self._unread, its)
        except BaseException:
            self._close_lines()
            raise
        finally:
            its.close()  # the worker's copy alone is open now: it is missed here when the worker ends
        assert self.process.stdout is not None  # `Start` says so
        self.output = Output(self.process.stdout)

    @property
    def held_bytes(self) -> int:
        """Of the sheets, as far as they were ever touched."""
        return self._feeds.held_bytes + self._fetches.held_bytes

    def order(self, order: m.Open | m.Close) -> None:
        """Raises `LostError`."""
        self._orders.send(m.encode(order), wait=False)

    def write(self, feed: Feed) -> Written:
        """Lay NumPy arrays ready for a batch; the place is taken until `spare`. Raises `MemoryError`."""
        return self._feeds.write(cast(Mapping[str, NDArray[Any]], feed))  # what came from a worker is NumPy's

    def spare(self, written: Written) -> None:
        """The batch was done, or will not be sent."""
        self._feeds.free(written.place)

    def run(self, number: int, model: int, role: str, written: Written, *, alone: bool) -> None:
        """Send a batch. Raises `LostError`."""
        order = m.Run(number, model, role, written.place, written.tensors, tuple(self._free), tuple(self._kept), alone)
        self._orders.send(m.encode(order), self._feeds.files(written.place), wait=False)
        self._feeds.sent(written.place)
        self._free, self._kept = [], []

    def withdraw(self) -> list[int]:
        """Take back what was sent and not begun: the batches' numbers. What was written of them stays so.

        Raises `LostError`.
        """
        if self._trimming:  # it must not be overtaken by a batch that was sent behind it
            return []
        numbers, others = self._take_back()
        for data in others:
            self._orders.send(data, wait=False)
        return numbers

    def receive(self) -> m.Answer | None:
        """The next answer; None where there is none yet. Raises `LostError`."""
        packet = self.answers.receive(wait=False)
        if packet is None:
            return None
        try:
            answer = m.decode_answer(packet.data)
            if isinstance(answer, m.Ran):
                self._fetches.take(answer.place, packet.files)
        finally:
            close_files(packet.files)
        self._trimming = self._trimming and not isinstance(answer, m.Trimmed)
        return answer

    def fetched(self, ran: m.Ran) -> Fetch:
        """The outputs of a batch; they are the caller's as long as it keeps them. Raises `LostError`."""
        return self._fetches.arrays(ran.place, ran.tensors)

    def settle(self, ran: m.Ran) -> None:
        """The caller has dropped what it does not keep of the outputs."""
        (self._free if self._fetches.settle(ran.place) else self._kept).append(ran.place)

    def trim(self) -> None:
        """Give memory back, while nothing runs. Raises `LostError`."""
        self._orders.send(m.encode(m.Trim()), wait=False)
        self._trimming = True
        self._forget()

    def kill(self) -> list[int]:
        """End it; the numbers of the batches that it had not begun."""
        self.process.kill()
        numbers, _ = self._take_back()
        self._close_lines()
        self._forget()
        return numbers

    def reap(self, timeout_s: float = 0.0) -> str | None:
        """How it ended, once it has; None before that."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return f"killed by {signal.strsignal(-code)}" if code < 0 else f"ended with code {code}"

    def _take_back(self) -> tuple[list[int], list[bytes]]:
        """The numbers of batches, and the other orders, that were not read."""
        numbers, others = list[int](), list[bytes]()
        while (packet := self._unread.receive(wait=False)) is not None:
            order = m.decode_order(packet.data)
            if isinstance(order, m.Run):
                numbers.append(order.number)
                self._free += order.free
                self._kept += order.kept
                for file in packet.files:
                    self._feeds.unsent(order.place, file)
            else:
                others.append(bytes(packet.data))
        return numbers, others

    def _forget(self) -> None:
        self._feeds.clear()
        self._fetches.clear()
        self._free, self._kept = [], []

    def _close_lines(self) -> None:
        for line in (self._orders, self._unread, self.answers):
            line.close()
