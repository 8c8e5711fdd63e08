"""The part of a manifest that says how a degradation model is started: which schedule runs how many of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from lqhq.runtime.manifest_types import Name, Strict
from lqhq.runtime.schedule import Schedule

__all__ = ["Synthesis", "check_starts"]


class Synthesis(Strict, frozen=True, kw_only=True):
    """A run of `steps` nominal steps is entered part of the way: strength s runs the last n = int(steps * s) of them.

    `schedules[n - 1]` names the schedule of those n calls, whose start noises the image to the level of its first
    timestep. `most` is the largest strength that is drawn where nobody says another.
    """

    steps: Annotated[int, Meta(ge=1, le=10_000)]
    schedules: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=10_000)]
    most: Annotated[float, Meta(gt=0, le=1)]

    def __post_init__(self) -> None:
        if not max(1, int(self.steps * self.most)) <= len(self.schedules) <= self.steps:
            raise ValueError(f"{len(self.schedules)} schedules for strengths up to {self.most:g} of {self.steps} steps")


def check_starts(synthesis: Synthesis, schedules: Mapping[str, Schedule]) -> None:
    """Raise `ValueError` where a schedule is missing, or has another number of rows than its place says."""
    for index, name in enumerate(synthesis.schedules):
        if name not in schedules:
            raise ValueError(f"synthesis.schedules[{index}] is {name!r}, which is not among the schedules")
        if len(schedules[name].rows) != index + 1:
            raise ValueError(f"synthesis.schedules[{index}], {name!r}, has {len(schedules[name].rows)} rows")
