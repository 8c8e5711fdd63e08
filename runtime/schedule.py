"""A sampler is data: a start and one row per network call.

One row means, with `v[-j]` the values of earlier rows (after their clip) and `w` the graph's variance output:

    v    = clip(p * state + q * pred, -clip, clip)
    next = c_state * state + c_pred * pred + c[0] * v + c[1] * v[-1] + ... + n * noise
    n    = sigma,  or  exp(l0 + l1 * w)  where `log_sigma` = (l0, l1) is given

and the start is `state = c_img * image + c_noise * noise`. Coefficients are float64 here and in the manifest;
the arithmetic runs in float32. Builders are in `samplers/`; nothing here knows a sampler's name.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from lqhq.runtime.errors import ScheduleError

__all__ = ["Row", "Schedule", "Start"]

MAX_ROWS = 10_000
MAX_DEPTH = 16
LARGEST = 1e18  # squares of what the arithmetic, float32, makes of it still fit


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`state = c_img * image + c_noise * noise`, noise of stream `start`."""

    c_img: float = 1.0
    c_noise: float = 0.0


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One network call and one linear update; see the module's formula.

    `t` is what the network is fed, in the model's own time; `c` holds the factors of v, v[-1], v[-2], ...
    """

    t: float
    p: float = 0.0
    q: float = 1.0
    clip: Annotated[float, msgspec.Meta(gt=0)] | None = None
    c_state: float
    c_pred: float = 0.0
    c: Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=MAX_DEPTH)]
    sigma: float = 0.0
    log_sigma: tuple[float, float] | None = None

    @property
    def noisy(self) -> bool:
        return self.sigma != 0.0 or self.log_sigma is not None


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A start and its rows. Raises `ScheduleError` when a number is not finite or a row looks back too far."""

    start: Start
    rows: Annotated[tuple[Row, ...], msgspec.Meta(min_length=1, max_length=MAX_ROWS)]
    about: str = ""

    @property
    def depth(self) -> int:
        """How many earlier values of `v` the rows look back on."""
        return max(len(row.c) for row in self.rows) - 1

    @property
    def needs_variance(self) -> bool:
        return any(row.log_sigma is not None for row in self.rows)

    def __post_init__(self) -> None:
        # Again what `Meta` says: msgspec holds to it when it decodes, not when a program builds a schedule.
        if not 1 <= len(self.rows) <= MAX_ROWS:
            raise ScheduleError(
                "rows", found=str(len(self.rows)), expected=f"1 to {MAX_ROWS}", mend="One row is one network call."
            )
        for index, row in enumerate(self.rows):
            clip = 1.0 if row.clip is None else row.clip
            if not clip > 0 or not 1 <= len(row.c) <= MAX_DEPTH:
                raise ScheduleError(
                    f"rows[{index}]",
                    found=f"clip {row.clip}, {len(row.c)} factors in c",
                    expected=f"clip above zero or None, 1 to {MAX_DEPTH} factors",
                    mend="c[0] is the factor of this row's own v; give 0.0 where it has none.",
                )
            numbers = [row.t, row.p, row.q, row.c_state, row.c_pred, row.sigma, clip, *row.c, *(row.log_sigma or ())]
            if not all(abs(number) <= LARGEST for number in numbers):  # a NaN is not
                raise ScheduleError(
                    f"rows[{index}]",
                    found=f"{numbers}",
                    expected="finite numbers, none above 1e18",
                    mend="Rebuild the schedule; a noise level of exactly zero or one often causes this.",
                )
            if any(row.c[index + 1 :]):
                raise ScheduleError(
                    f"rows[{index}].c",
                    found=f"{len(row.c)} factors",
                    expected=f"at most {index + 1}: no earlier value exists",
                    mend="The first rows of a multistep sampler must be of lower order.",
                )
        if not (math.isfinite(self.start.c_img) and math.isfinite(self.start.c_noise)):
            raise ScheduleError("start", found=str(self.start), expected="finite numbers", mend="Rebuild the schedule.")
