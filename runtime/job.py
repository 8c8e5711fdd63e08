"""A request as a state machine: the only owner of its tiles, canvases and history.

`ready()` says what could run now, `done()` takes what ran, `result()` is the finished image. A Job runs nothing
itself, so one driver can batch the work of many. What runs in which order is its stages' affair: `sampling.py`
for the rows of a schedule, `guided.py` for a restoration that a vector guides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from lqhq.runtime.geometry import Box
from lqhq.runtime.session import Feed, Fetch
from lqhq.runtime.sink import ImageSink

__all__ = ["NO_PIXELS", "Call", "Job", "Stages", "Work"]


NO_PIXELS = Box(0, 0, 0, 0)  # what a call sees of the canvas that is not about a part of it


class Call(NamedTuple):
    """One call of the graph `role`: for tile `tile`, row `row` of a schedule, on `box` of the canvas."""

    role: str
    tile: int
    row: int
    box: Box


class Stages(Protocol):
    """What one image goes through: which calls there are, in which order, and what becomes of their outputs."""

    @property
    def total(self) -> int:
        """Calls from start to end."""
        ...

    def ready(self) -> Call | None:
        """A call that can run now; each is given out once. None while all depends on what is out."""
        ...

    def feed(self, call: Call) -> Feed:
        """The graph's inputs for this one sample, `[1, ...]` each."""
        ...

    def done(self, call: Call, fetch: Fetch) -> None:
        """Take the outputs, `[1, ...]` each. Raises `EngineError` where one is missing or of another shape."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One call of one graph for one job. `key` is equal for works that may share a batch."""

    job: Job
    call: Call

    @property
    def key(self) -> tuple[str, int, int]:
        return (self.call.role, *self.call.box.size)

    def feed(self) -> Feed:
        """The graph's inputs; made when asked for, so waiting work is small."""
        return self.job.feed(self)


class Job:
    """One image on its way through its stages into `sink`. Not thread-safe: one driver owns it at a time."""

    def __init__(self, stages: Stages, sink: ImageSink) -> None:
        self._stages, self._sink = stages, sink
        self._done = 0

    @property
    def total(self) -> int:
        """Works from start to end."""
        return self._stages.total

    @property
    def finished(self) -> bool:
        return self._done == self.total

    def ready(self, limit: int) -> list[Work]:
        """Up to `limit` works that can run now; each is given out once. Empty while all depends on what is out."""
        works: list[Work] = []
        while len(works) < limit and (call := self._stages.ready()) is not None:
            works.append(Work(self, call))
        return works

    def feed(self, work: Work) -> Feed:
        """The inputs of `work`, `[1, ...]` each, float32."""
        return self._stages.feed(work.call)

    def done(self, work: Work, fetch: Fetch) -> None:
        """Take what the graph gave for `work`, `[1, ...]` each. Raises `EngineError` on a missing output."""
        self._stages.done(work.call, fetch)
        self._done += 1

    def result(self) -> NDArray[Any]:
        """The finished image, as the sink made it. Raises `ValueError` before `finished`."""
        if not self.finished:
            raise ValueError(f"{self._done} of {self.total} works are done")
        return self._sink.image
