"""The parent's side: contenders take turns, so that what slows the machine for a while slows all of them.

Each contender lives in a process of its own (engines in one process disturb each other's threads and memory),
loads, warms up, and is then asked round by round: A B C, C B A, A B C, ... A comparison is the median over rounds
of the ratio within the round. Import, loading and compiling are not timed.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from measuring.interval import Interval, median_interval

__all__ = ["Contender", "Outcome", "hold_contest", "ratio"]

BENCHMARKS = Path(__file__).resolve().parents[1]
PATIENCE = 600  # seconds for one reply: torch.compile takes a minute or two on two busy cores
SETTLE = 0.05  # seconds between turns: threads that spin for more work fall asleep, and leave the cores to the next
WARM_UPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """`function(**options) -> Entry` in `file`; `environment` is added to the child's."""

    name: str
    file: Path
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one contender did: seconds of each round, peak memory in bytes, its answer; or why it failed."""

    name: str
    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    note: str = ""
    answer: NDArray[Any] | None = None
    failure: str | None = None

    @property
    def median(self) -> float:
        """Median seconds; NaN where it failed."""
        return median(self.seconds) if self.seconds and not self.failure else float("nan")


class ContenderError(Exception):
    """A contender's process ended or fell silent; the text is the last line that it wrote."""


class Child:
    """One contender's process. Every order raises `ContenderError` when it cannot be answered."""

    def __init__(self, contender: Contender, log: IO[str]) -> None:
        self._log = log
        read_orders, write_orders = os.pipe()
        read_replies, write_replies = os.pipe()
        arguments = [contender.file, contender.function, json.dumps(contender.options)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "measuring.contender", *map(str, [*arguments, read_orders, write_replies])],
            cwd=BENCHMARKS,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(read_orders, write_replies),
            env={**os.environ, **contender.environment},
        )
        os.close(read_orders)
        os.close(write_replies)
        self._orders, self._replies = os.fdopen(write_orders, "w"), os.fdopen(read_replies)

    def reply(self) -> dict[str, Any]:
        """The next line; the child writes one only when it was asked, so nothing waits behind it in the buffer."""
        readable, _, _ = select.select([self._replies], [], [], PATIENCE)
        line = self._replies.readline() if readable else ""
        if not line:
            raise ContenderError(self._last_words() if readable else f"no reply within {PATIENCE} s")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def order(self, order: str, **fields: Any) -> dict[str, Any]:
        try:
            print(json.dumps({"order": order, **fields}), file=self._orders, flush=True)
        except BrokenPipeError:
            raise ContenderError(self._last_words()) from None
        return self.reply()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return f"{lines[-1][:300] if lines else 'no message'} (exit code {code})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._orders, self._replies):
            try:
                pipe.close()
            except BrokenPipeError:  # an order that the dead child did not read
                continue


def hold_contest(
    contenders: Sequence[Contender], *, rounds: int, warm_ups: int = WARM_UPS, answers: bool = False
) -> list[Outcome]:
    """Outcomes in the order given; one that fails is out of the race, the rest goes on.

    With `answers` each contender's answer is kept, for the caller to compare.
    """
    outcomes = [Outcome(name=contender.name) for contender in contenders]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        children: dict[int, Child] = {}
        for index, contender in enumerate(contenders):
            log = stack.enter_context((folder / f"{index}.log").open("w+"))
            child = stack.enter_context(Child(contender, log))
            children[index] = child
            print(f"loading {contender.name}", file=sys.stderr, flush=True)
            answer = folder / f"{index}.npy" if answers else None
            _turn(children, index, outcomes[index], lambda c, o, a=answer: _prepare(c, o, warm_ups, a))
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
            for index in sorted(children, reverse=bool(turn % 2)):
                time.sleep(SETTLE)
                _turn(children, index, outcomes[index], _run)
        for index in sorted(children):
            _turn(children, index, outcomes[index], _measure)
    return outcomes


def _turn(children: dict[int, Child], index: int, outcome: Outcome, act: Any) -> None:
    try:
        act(children[index], outcome)
    except ContenderError as failure:
        outcome.failure = str(failure)
        del children[index]


def _prepare(child: Child, outcome: Outcome, warm_ups: int, answer: Path | None) -> None:
    outcome.note = child.reply()["note"]
    for _ in range(warm_ups):
        child.order("run")
    if answer is not None:
        outcome.answer = np.load(child.order("answer", path=str(answer))["path"])


def _run(child: Child, outcome: Outcome) -> None:
    outcome.seconds.append(child.order("run")["seconds"])


def _measure(child: Child, outcome: Outcome) -> None:
    outcome.peak = child.order("peak")["peak"]


def ratio(above: Outcome, below: Outcome) -> Interval:
    """Median over rounds of `above`'s seconds for each of `below`'s: larger than 1 where `below` is faster."""
    return median_interval([a / b for a, b in zip(above.seconds, below.seconds, strict=True)])
