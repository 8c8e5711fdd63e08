"""How far a build is, how long it may still take, and how to stop it.

A builder reports phases of steps, and phases within steps. On TensorRT-RTX a machine without a GPU sees hundreds of
steps in the first hundredth of a second and then one long step for each profile, so `done` counts the phase that takes
the time, and the time left is an estimate from profiles already compiled: with one profile there is none. It was up
to four times too long for a network whose first profile took the longest. A step of full TensorRT times one layer;
what is estimated from those is unverified. A request to stop is heard between two steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

__all__ = ["BuildClock", "OnProgress", "Progress", "Watch", "make_monitor"]

SUBGRAPHS, COSTS = "Building engine from subgraph", "Computing profile costs"
MANY = 20  # a phase of so many steps has steps of like length: full TensorRT's timing of layers
ENOUGH = 3  # so many of them tell the pace
EVERY_S = 0.2  # between two reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a build stands: what the builder is at, 0 to 1 of its long steps, seconds so far and left.

    `left_s` is an estimate from what is done, None where nothing tells it.
    """

    phase: str
    done: float
    seconds: float
    left_s: float | None


OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    started: float
    done: int = 0


class BuildClock:
    """The state of a build of `profiles` profiles, from the builder's reports; times are seconds since its start."""

    def __init__(self, profiles: int) -> None:
        self._profiles = profiles
        self._phases: dict[str, _Phase] = {}
        self._done, self._compiled, self._at = 0.0, 0, 0.0
        self.phase = ""

    def start(self, name: str, parent: str | None, steps: int, now: float) -> None:
        """A phase of `steps` steps begins."""
        self._phases[name] = _Phase(parent, max(steps, 1), now)
        self.phase = name

    def step(self, name: str, step: int, now: float) -> None:
        """Step `step`, counted from 0, of a phase is complete."""
        phase = self._phases.get(name)
        if phase is None:
            return
        phase.done = step + 1
        compiled = phase.done * self._profiles // phase.steps
        if name == COSTS and compiled > self._compiled:
            self._compiled, self._at = compiled, now - phase.started

    def finish(self, name: str) -> None:
        """A phase has ended."""
        self._phases.pop(name, None)

    def progress(self, now: float) -> Progress:
        """The state at `now`; `done` never goes back."""
        subgraphs = self._phases.get(SUBGRAPHS)
        if subgraphs is not None:
            costs = self._phases.get(COSTS)
            inside = costs.done / costs.steps if costs else 0.0
            self._done = min(1.0, max(self._done, (subgraphs.done + inside) / subgraphs.steps))
        return Progress(phase=self.phase, done=self._done, seconds=now, left_s=self._left(now))

    def _left(self, now: float) -> float | None:
        costs, subgraphs = self._phases.get(COSTS), self._phases.get(SUBGRAPHS)
        if costs is None or subgraphs is None or subgraphs.steps > 1:
            return None  # of several subgraphs nobody knows the sizes
        if self._compiled == self._profiles:
            return 0.0
        if self._compiled:
            left = self._at / self._compiled * self._profiles - (now - costs.started)
            return left if left > 0 else None  # this profile takes longer than those before
        for phase in reversed(self._phases.values()):
            if phase is not costs and phase.started >= costs.started and phase.steps >= MANY and phase.done >= ENOUGH:
                pace = (now - phase.started) / phase.done
                return pace * (phase.steps - phase.done + phase.steps * (self._profiles - 1))
        return None


class Watch:
    """Passes the builder's reports on, not too often, and the caller's wish to stop down.

    A builder swallows what its callbacks raise. So `error` holds it, and the build is stopped.
    """

    def __init__(
        self,
        profiles: int,
        progress: OnProgress | None,
        cancel: Callable[[], bool] | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, self._progress, self._cancel = clock, progress, cancel
        self._clock, self._began, self._told = BuildClock(profiles), clock(), -EVERY_S
        self._lock = Lock()  # a builder may report from several threads
        self.cancelled = False
        self.error: BaseException | None = None

    @property
    def seconds(self) -> float:
        """Since the watch was made."""
        return self._now() - self._began

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """As the monitor's `phase_start`."""
        with self._lock:
            self._clock.start(name, parent, steps, self.seconds)
            self._guard(self._tell)

    def step(self, name: str, step: int) -> bool:
        """As the monitor's `step_complete`: False stops the build."""
        with self._lock:
            self._clock.step(name, step, self.seconds)
            self._guard(self._tell)
            self._guard(self._ask)
            return not self.cancelled and self.error is None

    def finish(self, name: str) -> None:
        """As the monitor's `phase_finish`."""
        with self._lock:
            self._clock.finish(name)

    def end(self) -> None:
        """The engine is there: the last report, which no builder's step would give. Raises what `progress` raises."""
        if self._progress is not None:
            self._progress(Progress(phase="done", done=1.0, seconds=self.seconds, left_s=0.0))

    def _guard(self, callback: Callable[[], None]) -> None:
        if self.error is not None:
            return
        try:
            callback()
        except BaseException as error:  # noqa: BLE001 - Ctrl-C included; the build raises it again when it is back
            self.error = error

    def _ask(self) -> None:
        self.cancelled = self.cancelled or (self._cancel is not None and self._cancel())

    def _tell(self) -> None:
        now = self.seconds
        state = self._clock.progress(now)
        if self._progress is not None and now - self._told >= EVERY_S:
            self._told = now
            self._progress(state)


def make_monitor(module: Any, watch: Watch) -> Any:
    """A progress monitor of the flavour's own kind that reports to `watch`."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)  # not super(): bindings ask for their own constructor by name

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watch.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return watch.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            watch.finish(phase_name)

    return Monitor()
