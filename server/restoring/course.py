"""How far a restoration is: written by the dispatcher's thread, read by the event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from lqhq.runtime.autotile import Choice
from lqhq.runtime.geometry import Box
from lqhq.runtime.job import Work
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.restoration import Restoration
from lqhq.runtime.session import Feed, Fetch
from lqhq.server.admission.reservation import Reservation
from lqhq.server.pace import Pace

__all__ = ["Course", "FollowedSource"]


class Course:
    """`started_s` and `ended_s` are those of the first call's feed and of the last call's result, None before.

    `tell` is called on the dispatcher's thread: at the start, at the end, ten times a second at most in between, and
    where a tile is the only one that waits. Tiles are views of the result, each there once, so those that wait take no
    memory of their own.
    """

    def __init__(self, clock: Callable[[], float], tell: Callable[[], None], *, follow: bool) -> None:
        """`follow` False tells of start and end alone."""
        self._clock, self._tell, self._follow = clock, tell, follow
        self._tiles: deque[tuple[Box, NDArray[Any]]] = deque()
        self._pace = Pace(clock)
        self.started_s: float | None = None
        self.ended_s: float | None = None
        self.done = 0

    def started(self) -> None:
        """The first call's feed is made. Further calls do nothing."""
        if self.started_s is None:
            self.started_s = self._clock()
            self._tell()

    def moved(self, done: int, *, finished: bool) -> None:
        """`done` works are done."""
        self.done = done
        if finished:
            self.ended_s = self._clock()
        if finished or (self._follow and self._pace.due(last=False)):
            self._tell()

    def tile(self, box: Box, pixels: NDArray[Any]) -> None:
        """The pixels `[h, w, C]` of `box` of the result are final."""
        self._tiles.append((box, pixels))
        if len(self._tiles) == 1:
            self._tell()

    def next_tile(self) -> tuple[Box, NDArray[Any]] | None:
        """The tile that came first, which is no longer kept; None where none waits."""
        try:
            return self._tiles.popleft()
        except IndexError:
            return None

    def left_s(self, total: int) -> float:
        """Seconds to the last of `total` works, as fast as until now; 0 where nothing is done yet."""
        if self.started_s is None or not self.done:
            return 0.0
        return (self._clock() - self.started_s) / self.done * max(0, total - self.done)


@dataclass(frozen=True, slots=True, eq=False)
class _FollowedWork(Work):
    course: Course

    def feed(self) -> Feed:
        self.course.started()
        return Work.feed(self)


class FollowedSource:
    """A `WorkSource`: that of `restoration`, with `course` and `reservation` kept up to date."""

    def __init__(self, restoration: Restoration, course: Course, reservation: Reservation) -> None:
        self._restoration, self._course, self._reservation = restoration, course, reservation

    @property
    def choice(self) -> Choice | LatentChoice:
        return self._restoration.choice

    @property
    def finished(self) -> bool:
        return self._restoration.finished

    def ready(self, limit: int) -> Sequence[Work]:
        works = self._restoration.ready(limit)
        return [_FollowedWork(work.job, work.call, self._course) for work in works]

    def done(self, work: Work, fetch: Fetch) -> None:
        self._restoration.done(work, fetch)
        done = self._reservation.done_works = self._restoration.done_works
        self._course.moved(done, finished=self._restoration.finished)
