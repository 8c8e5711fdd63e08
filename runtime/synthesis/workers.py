"""Work in several processes, results in the order of the jobs.

Each process opens what works for itself, takes one job after the other, and ends when the one that started it does,
however that ends.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from lqhq.runtime.autotile import default_budget
from lqhq.runtime.errors import EngineError, LqhqError
from lqhq.runtime.machine import cpu_count

__all__ = ["default_workers", "in_order"]

Job = TypeVar("Job")
Result = TypeVar("Result")
Opener = Callable[[], AbstractContextManager[Callable[[Job], Result]]]

QUEUED = 2  # jobs that a worker has: one that it does, one that waits
AHEAD = 4  # results, times the workers, that may be ready or on their way while the next in order is not


def default_workers(*, threads: int, memory: int) -> int:
    """One for every `threads` processors, as far as each can have `memory` bytes of what is free now; at least one."""
    return max(1, min(cpu_count() // threads, default_budget() // memory))


def in_order(jobs: Iterable[Job], opener: Opener[Job, Result], workers: int) -> Generator[Result, None, None]:
    """The results of `jobs`, one after the other; a job is taken from `jobs` when a worker has room for it.

    One worker works in this process. More are processes that `opener`, jobs and results travel to and from. Raises
    `EngineError` where one of them dies or cannot open. Close the iterator to stop them.
    """
    if workers == 1:
        with opener() as work:
            for job in jobs:
                yield work(job)
        return
    crew = _Crew(opener, workers)
    try:
        yield from crew.results(jobs)
    finally:
        crew.kill()


class _Crew(Generic[Job, Result]):
    """The processes, what they have been given, and what came back too early."""

    def __init__(self, opener: Opener[Job, Result], workers: int) -> None:
        # A forked process would inherit threads' locks that nobody opens again.
        context = multiprocessing.get_context("spawn")
        self._links: dict[Connection, SpawnProcess] = {}
        self._given: dict[Connection, deque[int]] = {}
        self._early: dict[int, Result] = {}
        with ExitStack() as starting:
            starting.callback(self.kill)
            for _ in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, opener), daemon=True)
                _start_deaf(process)
                theirs.close()  # now the worker's end alone is open, and its death is seen here
                self._links[ours], self._given[ours] = process, deque()
            starting.pop_all()

    def results(self, jobs: Iterable[Job]) -> Iterator[Result]:
        waiting, given, taken, more = iter(jobs), 0, 0, True
        while True:
            while more and given - taken < AHEAD * len(self._links) and (link := self._free()) is not None:
                try:
                    job = next(waiting)
                except StopIteration:
                    more = False
                    break
                self._send(link, job)
                self._given[link].append(given)
                given += 1
            if taken == given:
                return
            while taken not in self._early:
                self._receive()
            yield self._early.pop(taken)
            taken += 1

    def _free(self) -> Connection | None:
        link = min(self._given, key=lambda one: len(self._given[one]))
        return link if len(self._given[link]) < QUEUED else None

    def _send(self, link: Connection, job: Job) -> None:
        try:
            link.send(job)
        except OSError as error:
            raise self._died(link) from error

    def _receive(self) -> None:
        for link in wait([link for link, given in self._given.items() if given]):
            assert isinstance(link, Connection)
            try:
                result = link.recv()
            except (EOFError, OSError) as error:
                raise self._died(link) from error
            if isinstance(result, _NotOpened):
                raise EngineError(
                    "worker",
                    found=result.text,
                    expected="to open the bundle as this process did",
                    mend="Give --workers 1 to see it here.",
                )
            self._early[self._given[link].popleft()] = result

    def _died(self, link: Connection) -> EngineError:
        process = self._links[link]
        process.join()
        return EngineError(
            "worker",
            found=f"a process that ended with code {process.exitcode}",
            expected="it to work on",
            mend="Its memory may have run out: give fewer --workers or a smaller --memory, and --resume.",
        )

    def kill(self) -> None:
        for process in self._links.values():
            process.kill()
        for link, process in self._links.items():
            process.join()
            link.close()


class _NotOpened:
    """What a worker says instead of a first result; errors of ours do not travel."""

    def __init__(self, text: str) -> None:
        self.text = text


def _start_deaf(process: SpawnProcess) -> None:
    """Start it with Ctrl-C blocked, which a terminal sends to all: the one that started it answers."""
    resource_tracker.ensure_running()  # what starts it lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(link: Connection, opener: Opener[Any, Any]) -> None:
    try:
        with opener() as work:
            while True:
                link.send(work(link.recv()))
    except LqhqError as error:
        link.send(_NotOpened(str(error)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # whoever gave the jobs is gone
