"""The worker process: `python -m lqhq.server.workers.process ORDERS ANSWERS PARENT`, started by `start.py` alone.

The main thread waits for orders and runs batches; bundles are opened in a thread of their own. Tensors that an engine
leaves on its device are copied to the host: nothing stays there between two calls.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from threading import Thread

from lqhq.runtime.bundle_sessions import close_sessions, give_back_all
from lqhq.runtime.engines.device_arrays import to_host
from lqhq.runtime.errors import LqhqError
from lqhq.runtime.session import Session
from lqhq.runtime.session_pool import SessionPool
from lqhq.server.workers import messages as m
from lqhq.server.workers.failures import as_failure
from lqhq.server.workers.loading import open_model
from lqhq.server.workers.packets import Line, LostError, close_files
from lqhq.server.workers.sheets import SheetReader, SheetWriter

__all__ = ["Server", "main"]

PR_SET_PDEATHSIG = 1  # prctl(2)


class Server:
    """Takes orders one after the other. An error that is no engine's ends it: whoever started it starts another."""

    def __init__(self, orders: Line, answers: Line) -> None:
        self._orders, self._answers = orders, answers
        self._models: dict[int, Mapping[str, Session]] = {}
        self._feeds, self._fetches = SheetReader(), SheetWriter()

    def serve(self) -> None:
        """Until the other end is closed; raises `LostError` then."""
        self._say(m.Hello())
        while True:
            packet = self._orders.receive(wait=True)
            assert packet is not None  # it waits for one
            try:
                self._obey(m.decode_order(packet.data), packet.files)
            finally:
                close_files(packet.files)

    def _obey(self, order: m.Order, files: tuple[int, ...]) -> None:
        match order:
            case m.Run():
                self._feeds.take(order.place, files)
                self._run(order)
            case m.Open():
                Thread(target=self._open, args=(order,), daemon=True).start()
            case m.Close():
                close_sessions(self._models.pop(order.model, {}))
                give_back_all()
                self._say(m.Closed(order.model))
            case m.Trim():
                self._feeds.clear()
                self._fetches.clear()
                give_back_all()
                self._say(m.Trimmed())

    def _run(self, run: m.Run) -> None:
        for place in run.free:
            self._fetches.free(place)
        for place in run.kept:
            self._fetches.free(place, kept=True)
        feed = self._feeds.arrays(run.place, run.tensors)
        began = time.perf_counter()
        try:
            sessions = self._models[run.model]
            if isinstance(sessions, SessionPool):
                sessions.alone = run.alone
            fetch = sessions[run.role].run(feed)
            written = self._fetches.write({name: to_host(array) for name, array in fetch.items()})
        except Exception as error:  # noqa: BLE001 -- whatever an engine raises: the request fails, not the worker
            _print(error)
            self._say(m.Failed(run.number, as_failure(run.role, error)))
            return
        ms = (time.perf_counter() - began) * 1e3
        self._say(m.Ran(run.number, written.place, written.tensors, ms), self._fetches.files(written.place))
        self._fetches.sent(written.place)

    def _open(self, order: m.Open) -> None:
        try:
            loaded = open_model(order.opening)
        except Exception as error:  # noqa: BLE001 -- the model is refused, the worker goes on
            _print(error)
            self._say(m.NotOpened(order.model, as_failure(order.opening.path, error)))
            return
        self._models[order.model] = loaded.sessions
        self._say(m.OpenedModel(order.model, loaded.opened))

    def _say(self, answer: m.Answer, files: tuple[int, ...] = ()) -> None:
        self._answers.send(m.encode(answer), files, wait=True)


def _print(error: Exception) -> None:
    """For the log; errors that are expected say all themselves, where they arrive."""
    if not isinstance(error, LqhqError):
        traceback.print_exception(error)


def main(arguments: list[str]) -> None:
    """Serve until the parent is gone, however it went."""
    orders, answers, parent = map(int, arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal and a service manager send them to all; the parent acts
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before that
        os._exit(0)
    code = 0
    try:
        with suppress(LostError):
            Server(Line(socket.socket(fileno=orders)), Line(socket.socket(fileno=answers))).serve()
    except Exception:  # noqa: BLE001 -- said before it ends, whatever it is
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)  # engines that are closed one by one, or a bundle that is still opening, would hold it up


if __name__ == "__main__":
    main(sys.argv[1:])
