"""How a probe says no."""

from __future__ import annotations

from typing import Any

from lqhq.runtime.errors import ScheduleError

__all__ = ["refusal"]


def refusal(
    scheduler: Any,
    *,
    found: str,
    expected: str = "a sampler that is linear in its state, the network's outputs and noise",
    mend: str = "Use another scheduler, or a builder of lqhq.runtime.samplers.",
) -> ScheduleError:
    """The error for a scheduler whose table of rows does not exist or cannot be found."""
    return ScheduleError(type(scheduler).__name__, found=found, expected=expected, mend=mend)
