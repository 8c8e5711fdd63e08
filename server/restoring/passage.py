"""One request's passage: what happens when, and what becomes of it where it is given up on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from lqhq.server.batching.request import NEVER, Request
from lqhq.server.models.served_model import ServedModel
from lqhq.server.restoring.ask import Accepted, Ask, Follower, Restored, Times
from lqhq.server.restoring.bell import Bell
from lqhq.server.restoring.bit_depth import in_depth
from lqhq.server.restoring.course import Course, FollowedSource
from lqhq.server.restoring.deliveries import form_told
from lqhq.server.restoring.gate import Admitted, Gate
from lqhq.server.restoring.outcomes import outcome_of
from lqhq.server.restoring.pictures import picture_bytes
from lqhq.server.restoring.pixel_threads import PixelThreads
from lqhq.server.restoring.pixels import Finished, Prepared, finish, prepare
from lqhq.server.restoring.planning import Plan
from lqhq.server.restoring.plans import Plans
from lqhq.server.restoring.run import Run, Running
from lqhq.server.restoring.telling import Following, Telling
from lqhq.server.v2.errors import UnavailableError

__all__ = ["Passage", "Way", "is_heavy"]


def is_heavy(ask: Ask) -> bool:
    """Whether there is more to do than to copy pixels: files are read or written, or words are read."""
    files = isinstance(ask.image, bytes) or isinstance(ask.mask, bytes) or ask.delivery.format != "tensor"
    return files or ask.options.prompt is not None or ask.options.tagger


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What all requests go through. `last_s` is how long a follower may take for what is left to tell at the end."""

    dispatcher: Running
    gate: Gate
    pool: PixelThreads
    plans: Plans
    last_s: float
    clock: Callable[[], float]


class Passage:
    """One request. Its deadline is its caller's to enforce; here it keeps works from being begun."""

    def __init__(self, way: Way, ask: Ask, served: ServedModel, arrived_s: float) -> None:
        self._way, self._ask, self._served, self._arrived_s = way, ask, served, arrived_s
        self._deadline_s = NEVER if ask.deadline_s is None else arrived_s + ask.deadline_s
        self._bell = Bell()
        self._course = Course(way.clock, self._bell.ring, follow=ask.progress)

    async def restored(self, follower: Follower | None) -> Restored:
        """The result, for which room is held until the calling task has ended. Raises as `Restoring.restore`."""
        way, ask, caller = self._way, self._ask, asyncio.current_task()
        assert caller is not None
        planning = partial(way.plans.plan, ask, self._served)
        heavy = is_heavy(ask)
        pool = way.pool.quick if isinstance(ask.image, bytes) else way.pool.of(ask.image.size, heavy=heavy)
        plan = planning() if pool is None else await asyncio.wrap_future(pool.submit(planning))
        admitted = way.gate.let_in(ask, plan, self._deadline_s)
        holding = admitted.holding
        with ExitStack() as failing:
            failing.callback(holding.close)
            pool = way.pool.of(max(form.height * form.width for form in (plan.image, plan.result)), heavy=heavy)
            prepared = await holding.run(pool, partial(self._prepared, plan, tiles=follower is not None and ask.tiles))
            if follower is not None:
                await follower.accepted(self._accepted(plan, admitted, prepared))
            async with Following(self._telling(follower, plan, prepared), last_s=way.last_s) as following:
                await following.beside(self._run(plan, admitted, prepared))
                finished = await following.beside(holding.run(pool, partial(finish, prepared, ask, plan, way.clock)))
            failing.pop_all()
        # The image that came and the one that leaves are there until the answer is sent, however slowly it is read.
        holding.close_with(caller, picture_bytes(ask.image) + picture_bytes(finished.image))
        works, times = prepared.restoration.done_works, self._times(prepared, finished)
        return Restored(finished.image, outcome_of(ask, self._served, plan, works=works, times=times))

    def _prepared(self, plan: Plan, *, tiles: bool) -> Prepared:
        way = self._way
        heard = self._course.tile if tiles else None
        return prepare(self._ask, self._served, plan, way.plans.bounds.max_pixels, heard, way.clock)

    def _accepted(self, plan: Plan, admitted: Admitted, prepared: Prepared) -> Accepted:
        return Accepted(
            id=self._ask.id,
            image=form_told(plan.image),
            result=form_told(plan.result),
            works=prepared.restoration.total,
            queue_s=admitted.queue_s,
            run_s=admitted.run_s,
        )

    def _telling(self, follower: Follower | None, plan: Plan, prepared: Prepared) -> Telling | None:
        if follower is None or not (self._ask.progress or self._ask.tiles):
            return None

        async def made(tile: NDArray[Any]) -> NDArray[Any]:
            if tile.dtype == plan.result.dtype:
                return tile
            convert = partial(in_depth, tile, plan.result.dtype)
            return await asyncio.get_running_loop().run_in_executor(self._way.pool.quick, convert)

        telling = Telling(
            follower,
            self._course,
            progress=self._ask.progress,
            total=prepared.restoration.total,
            made=made,
            clock=self._way.clock,
        )
        self._bell.add(telling.wake)
        return telling

    async def _run(self, plan: Plan, admitted: Admitted, prepared: Prepared) -> None:
        """All works, when it is the request's turn on its model. Returns when they are done."""
        request = Request(
            name=self._ask.id,
            model=self._served.key,
            source=FollowedSource(prepared.restoration, self._course, admitted.holding.reservation),
            level=admitted.level,
            deadline_ms=self._deadline_s * 1e3,
        )
        async with AsyncExitStack() as ends:
            async with self._patience() as patient:
                await ends.enter_async_context(self._served.turns.take(alone=plan.alone))
                run = Run(self._way.dispatcher, request, admitted.holding, self._course, self._bell)
                ends.enter_context(run)
                if patient:
                    await run.begun()
            await run.done()

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[bool]:
        """The block may take what is left of the time that the request may wait; whether that ends."""
        limit_s = self._ask.urgency.timeout_s
        if limit_s is None:
            yield False
            return
        left_s = limit_s - (self._way.clock() - self._arrived_s)
        try:
            async with asyncio.timeout(left_s) as waiting:
                yield True
        except TimeoutError:
            if not waiting.expired():
                raise
            raise UnavailableError(
                f"request {self._ask.id}",
                found=f"no room on a worker within {limit_s:g} s, as long as it may wait",
                expected="a worker that is free earlier",
                mend="Try again later, let it wait longer, or give it a more urgent priority.",
            ) from None

    def _times(self, prepared: Prepared, finished: Finished) -> Times:
        started_s = finished.pixels_s if self._course.started_s is None else self._course.started_s
        return Times(
            decode_s=prepared.seconds,
            queue_s=max(0.0, started_s - self._arrived_s - prepared.seconds),
            run_s=finished.pixels_s - started_s,
            encode_s=finished.encode_s,
        )
