"""A line of progress while an engine is built, and a Ctrl-C that lets the builder end by itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TextIO, TypeVar

from lqhq.runtime.engines.trt.progress import Progress
from lqhq.runtime.errors import CancelledError
from lqhq.tools.cli.columns import clean
from lqhq.tools.cli.terminal_line import TerminalLine, clock

__all__ = ["BuildLine", "run_stoppable"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class BuildLine:
    """Writes one line over and over to `stream` while it is a terminal; call `clear` before other output."""

    def __init__(self, stream: TextIO) -> None:
        self._line = TerminalLine(stream)
        self.what = ""

    def update(self, progress: Progress) -> None:
        """The engine named by `what` stands at `progress`."""
        text = f"{clean(self.what)}  {100 * progress.done:.0f} %  {clean(progress.phase)[:40]}"
        if progress.left_s is not None:
            text += f"  {clock(progress.left_s)} left"
        self._line.write(text)

    def clear(self) -> None:
        """Remove the line."""
        self._line.clear()


class Stoppable(Protocol[T_co]):
    """Work that asks `cancel` now and then, and raises `CancelledError` once it says True."""

    def __call__(self, *, cancel: Callable[[], bool]) -> T_co: ...


def run_stoppable(work: Stoppable[T]) -> T:
    """Run `work` in a thread of its own; Ctrl-C asks it to stop, and interrupts when it has.

    A builder runs in its library's code, where no signal is seen before it ends; this thread sees it at once, waits for
    the builder to stop, and interrupts then. A second Ctrl-C does not wait.
    """
    done: Future[T] = Future()
    stopped = threading.Event()

    def run() -> None:
        try:
            done.set_result(work(cancel=stopped.is_set))
        except BaseException as error:  # noqa: BLE001 - handed over whole, and raised below
            done.set_exception(error)

    thread = threading.Thread(target=run, name="lqhq build", daemon=True)
    try:
        thread.start()
        return done.result()
    except KeyboardInterrupt:
        stopped.set()
        with contextlib.suppress(CancelledError):
            done.result()
        raise
