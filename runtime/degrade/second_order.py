"""The second-order degradation: two rounds of blur, resizing, noise and JPEG.

Source: Wang et al., Real-ESRGAN, arXiv 2107.10833, and the options of its released training. What belongs to training
and not to a pair is left out: the pool of samples, crops, flips. The released JPEG is an approximation in floats; here
it is a real one, so that qualities are whole numbers.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lqhq.runtime.degrade.ranges import (
    Factors,
    Modes,
    Poisson,
    Probability,
    Qualities,
    Sigmas,
    Sizes,
    Unit,
    check_odd,
    check_order,
    check_sum,
)
from lqhq.runtime.manifest_types import Strict

__all__ = ["Blurring", "FinalSinc", "Kinds", "Noising", "Resizing", "SecondOrder", "Sharpening", "Stage"]

Gentler = Annotated[float, Meta(ge=0.1, le=1)]
Steeper = Annotated[float, Meta(ge=1, le=8)]


class Kinds(Strict, frozen=True, kw_only=True):
    """How often each kind of blur is taken; `filters.py` has their formulas. They sum to one."""

    iso: Probability = 0.45
    aniso: Probability = 0.25
    generalised_iso: Probability = 0.12
    generalised_aniso: Probability = 0.03
    plateau_iso: Probability = 0.12
    plateau_aniso: Probability = 0.03

    def __post_init__(self) -> None:
        check_sum(self)


class Blurring(Strict, frozen=True, kw_only=True):
    """A blur with `probability`: a sinc filter with probability `sinc`, else one of `kinds`.

    `size` in pixels, odd; `sigma` in pixels, of each axis; both uniform. The exponent of the generalised and of the
    plateau kinds is with equal chances from `beta[0]` to 1 or from 1 to `beta[1]`. A sinc's cut-off is uniform, in
    parts of the highest frequency: `cutoff_narrow` for filters below 13 pixels, else `cutoff_wide`.
    """

    sigma: Sigmas
    probability: Probability = 1.0
    size: Sizes = (7, 21)
    kinds: Kinds = Kinds()
    generalised_beta: tuple[Gentler, Steeper] = (0.5, 4.0)
    plateau_beta: tuple[Gentler, Steeper] = (1.0, 2.0)
    sinc: Probability = 0.1
    cutoff_narrow: Unit = (1 / 3, 1.0)
    cutoff_wide: Unit = (1 / 5, 1.0)

    def __post_init__(self) -> None:
        check_odd(self, "size")
        check_order(self, "sigma", "cutoff_narrow", "cutoff_wide")


class Resizing(Strict, frozen=True, kw_only=True):
    """Enlarging with probability `up`, shrinking with `down`, else (`keep`) neither; the factors are uniform."""

    up: Probability
    down: Probability
    keep: Probability
    up_factor: Factors
    down_factor: Factors
    modes: Modes = Modes()

    def __post_init__(self) -> None:
        check_sum(self, "up", "down", "keep")
        check_order(self, "up_factor", "down_factor")


class Noising(Strict, frozen=True, kw_only=True):
    """Gaussian noise with probability `gaussian`, else Poisson noise; gray with probability `gray`.

    `sigma` in levels of 0 to 255 and the Poisson noise's `scale` are uniform.
    """

    sigma: Sigmas
    scale: Poisson
    gaussian: Probability = 0.5
    gray: Probability = 0.4

    def __post_init__(self) -> None:
        check_order(self, "sigma", "scale")


class Stage(Strict, frozen=True, kw_only=True):
    """One round. `jpeg` is the range of qualities, whole numbers, both ends included, all equally likely."""

    blur: Blurring
    resize: Resizing
    noise: Noising
    jpeg: Qualities

    def __post_init__(self) -> None:
        check_order(self, "jpeg")


class FinalSinc(Strict, frozen=True, kw_only=True):
    """The sinc filter at the end, with `probability`; `cutoff` and `size` as in `Blurring`."""

    probability: Probability = 0.8
    size: Sizes = (7, 21)
    cutoff: Unit = (1 / 3, 1.0)

    def __post_init__(self) -> None:
        check_odd(self, "size")
        check_order(self, "cutoff")


class Sharpening(Strict, frozen=True, kw_only=True):
    """Whether the degradation starts from the sharpened image; the weight 0 leaves it out. See `steps.Sharpen`."""

    weight: Annotated[float, Meta(ge=0, le=4)]
    size: Annotated[int, Meta(ge=1, le=255)] = 51
    threshold: Annotated[float, Meta(ge=0, le=255)] = 10.0

    def __post_init__(self) -> None:
        if self.size % 2 == 0:
            raise ValueError(f"`size` is {self.size}: a filter's size is odd")


class SecondOrder(Strict, frozen=True, kw_only=True):
    """Sharpening; blur, resizing, noise, JPEG; blur, resizing (now of the low-quality size) and noise; then the end.

    The end is JPEG (of `second`), resizing to the low-quality size, and the final sinc; with probability `jpeg_last`
    JPEG comes after the other two instead of before.
    """

    sharpen: Sharpening
    first: Stage
    second: Stage
    final_modes: Modes = Modes()
    final_sinc: FinalSinc = FinalSinc()
    jpeg_last: Probability = 0.5
