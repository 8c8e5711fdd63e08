"""Which of the trained timesteps a run visits: spacings, respacing strings, strength. Integers only.

"50 steps" of 1000 means {0, 20, ..., 980} to diffusers' DDPM, {19, 38, ..., 950} to its multistep samplers
and {0, 20, 41, ..., 999} to guided-diffusion, so each rule has its own function here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from lqhq.runtime.errors import OptionError

__all__ = [
    "Spacing",
    "check_count",
    "multistep_timesteps",
    "respaced_timesteps",
    "spaced_timesteps",
    "steps_from_strength",
]

Spacing = Literal["leading", "linspace", "trailing"]


def spaced_timesteps(
    *, steps: int, spacing: Spacing = "leading", train_steps: int = 1000, offset: int = 0
) -> tuple[int, ...]:
    """The timesteps of diffusers' DDPM and DDIM, largest first: `steps` integers in [0, train_steps).

    leading: k * (T // N) + offset; linspace: N points of [0, T-1], rounded; trailing: round(T - k*T/N) - 1.
    `offset` is `steps_offset`, used by leading only. Raises `OptionError` for impossible numbers.
    """
    check_count("steps", steps, most=train_steps)
    match spacing:
        case "leading":
            times: Iterable[int] = ((train_steps // steps) * k + offset for k in reversed(range(steps)))
        case "linspace":
            times = np.linspace(0, train_steps - 1, steps).round().astype(np.int64)[::-1].tolist()
        case "trailing":
            times = _trailing(steps, train_steps)
        case _:
            raise _unknown_spacing(spacing)
    return _inside(tuple(times), train_steps)


def multistep_timesteps(
    *, steps: int, spacing: Spacing = "linspace", train_steps: int = 1000, offset: int = 0
) -> tuple[int, ...]:
    """The timesteps of diffusers' UniPC, largest first: one spare point is laid out and the smallest dropped.

    leading: k * (T // (N+1)) + offset for k = N..1; linspace: N+1 points of [0, T-1], rounded, without 0;
    trailing as for DDPM. Timesteps may repeat when N comes close to T; the builder of rows refuses those.
    """
    check_count("steps", steps, most=train_steps)
    match spacing:
        case "leading":
            times: Iterable[int] = ((train_steps // (steps + 1)) * k + offset for k in range(steps, 0, -1))
        case "linspace":
            times = np.linspace(0, train_steps - 1, steps + 1).round().astype(np.int64)[:0:-1].tolist()
        case "trailing":
            times = _trailing(steps, train_steps)
        case _:
            raise _unknown_spacing(spacing)
    return _inside(tuple(times), train_steps)


def steps_from_strength(*, steps: int, strength: float) -> int:
    """How many of the last `steps` calls a run of this strength makes: min(int(steps * strength), steps).

    The product is truncated in double precision as the released scripts do: int(100 * 0.29) is 28. Raises
    `OptionError` when strength is outside (0, 1] or so small that no call is left.
    """
    check_count("steps", steps)
    calls = min(int(steps * strength), steps) if 0 < strength <= 1 else 0
    if calls < 1:
        raise OptionError(
            "strength",
            found=f"{strength} of {steps} steps",
            expected=f"a number in (0, 1] that leaves one step at least: {1 / steps:.4g} or more",
            mend="Raise strength, or raise steps.",
        )
    return calls


def respaced_timesteps(*, respacing: str, train_steps: int = 1000) -> tuple[int, ...]:
    """The timesteps that guided-diffusion keeps for a respacing string, smallest first.

    "50" or "10,15,25": T is cut into that many sections of nearly equal length and each keeps that many
    timesteps, its first and last among them. "ddim50": the one integer stride that gives exactly 50. Raises
    `OptionError` for another form or a count that does not fit.
    """
    check_count("train_steps", train_steps)
    counts = respacing.removeprefix("ddim").split(",")
    if not all(count.isascii() and count.isdigit() and len(count) < 6 for count in counts):
        raise _bad_respacing(respacing, 'a count ("50"), counts joined by commas ("10,15,25"), or "ddim50"')
    numbers = [int(count) for count in counts]
    if respacing.startswith("ddim"):
        return _fixed_stride(respacing, numbers, train_steps)
    kept: list[int] = []
    begin = 0
    for section, count in enumerate(numbers):
        size = train_steps // len(numbers) + (section < train_steps % len(numbers))
        if not 1 <= count <= size:
            raise _bad_respacing(respacing, f"1 to {size} timesteps in section {section}")
        stride = (size - 1) / (count - 1) if count > 1 else 1.0
        position = 0.0
        for _ in range(count):
            kept.append(begin + round(position))
            position += stride  # accumulated as guided-diffusion does, so that ties round alike
        begin += size
    return tuple(kept)


def check_count(where: str, count: int, *, least: int = 1, most: int = 10_000) -> None:
    """Raise `OptionError` unless least <= count <= most."""
    if not least <= count <= most:
        raise OptionError(
            where,
            found=str(count),
            expected=f"an integer from {least} to {most}",
            mend="Choose a number in that range.",
        )


def _trailing(steps: int, train_steps: int) -> list[int]:
    return [round(train_steps - k * (train_steps / steps)) - 1 for k in range(steps)]


def _fixed_stride(respacing: str, numbers: list[int], train_steps: int) -> tuple[int, ...]:
    for stride in range(1, train_steps):
        times = tuple(range(0, train_steps, stride))
        if [len(times)] == numbers:
            return times
    raise _bad_respacing(respacing, f"a number of timesteps that some integer stride over {train_steps} gives")


def _inside(times: tuple[int, ...], train_steps: int) -> tuple[int, ...]:
    if not (times[-1] >= 0 and times[0] < train_steps):
        raise OptionError(
            "offset",
            found=f"timesteps from {times[-1]} to {times[0]}",
            expected=f"timesteps in [0, {train_steps})",
            mend="Lower the offset, or take more steps.",
        )
    return times


def _unknown_spacing(spacing: str) -> OptionError:
    return OptionError(
        "spacing",
        found=repr(spacing),
        expected="leading, linspace or trailing",
        mend="Copy timestep_spacing from the checkpoint's scheduler_config.json.",
    )


def _bad_respacing(respacing: str, expected: str) -> OptionError:
    return OptionError("respacing", found=repr(respacing), expected=expected, mend='For example "50".')
