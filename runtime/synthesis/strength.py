"""How far a pair is taken into the noise: a strength drawn from its range, and the steps that this comes to."""

from __future__ import annotations

from typing import NamedTuple

from lqhq.runtime.errors import OptionError

__all__ = ["StrengthRange", "check_strengths", "steps_of"]


class StrengthRange(NamedTuple):
    """Shares of the nominal steps, `0 <= low <= high <= 1`."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """The strength at `share`, in [0, 1), of the range: `low + share * (high - low)`."""
        return min(self.low + share * (self.high - self.low), self.high)  # the sum may round up past its end


def steps_of(strength: float, nominal: int) -> int:
    """How many of `nominal` steps run: their product in double precision, cut off, and at least one.

    The rule of the released synthesis script. What is cut off is the product as it rounds: 50 * 0.29 gives 14.
    """
    return max(1, min(int(nominal * strength), nominal))


def check_strengths(strengths: StrengthRange, *, nominal: int, schedules: int) -> None:
    """Raise `OptionError` for a range that is none, or that needs more steps than there are `schedules` for."""
    low, high = strengths
    found = f"{low:g}:{high:g}"
    if not 0 <= low <= high <= 1:  # a NaN is not
        raise OptionError(
            "strength", found=found, expected="MIN:MAX, 0 <= MIN <= MAX <= 1", mend="Give it like 0.05:0.25."
        )
    if steps_of(high, nominal) > schedules:
        raise OptionError(
            "strength",
            found=f"{found}, which is up to {steps_of(high, nominal)} of {nominal} steps",
            expected=f"at most {schedules} steps: the bundle has no schedules for more",
            mend=f"Give a MAX of {schedules / nominal:g} or less.",
        )
