"""The shuffled degradation: blur twice, shrink twice, noise and JPEG in random order, and JPEG at the end.

Source: Zhang et al., BSRGAN, arXiv 2103.14006, and its released program, whose seventh operation in the shuffle,
sensor noise through a camera's pipeline, is left out: it needs a model of its own and is skipped there without.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lqhq.runtime.degrade.ranges import (
    Modes,
    Probability,
    Qualities,
    Sizes,
    check_odd,
    check_order,
    check_sum,
)
from lqhq.runtime.manifest_types import Strict

__all__ = ["Blurs", "Colours", "Reductions", "Shuffled"]

Number = Annotated[float, Meta(ge=0, le=8)]
Growing = tuple[Number, Number]  # a, b: the value is a + b * scale


class Blurs(Strict, frozen=True, kw_only=True):
    """Anisotropic Gaussians with probability `aniso`, else isotropic ones; `size` in pixels, odd, uniform.

    An isotropic sigma is uniform from 0 to a + b * scale pixels with `sigma` = (a, b); the anisotropic ones'
    variances, in squared pixels, likewise with `variance`, their angle from 0 to pi.
    """

    aniso: Probability = 0.5
    size: Sizes = (7, 25)
    sigma: Growing = (2.0, 0.2)
    variance: Growing = (4.0, 1.0)

    def __post_init__(self) -> None:
        check_odd(self, "size")


class Reductions(Strict, frozen=True, kw_only=True):
    """The first of the two: with probability `resize` by a factor from 1 to `most` * scale, else sub-sampling.

    Sub-sampling takes one value of each cell of scale x scale pixels, after a Gaussian of `size` pixels around the
    cell's middle, with a sigma uniform from `sigma[0]` to `sigma[1]` * scale. The second resizes to the final size.
    """

    resize: Probability = 0.75
    most: Annotated[float, Meta(ge=1, le=4)] = 2.0
    size: Annotated[int, Meta(ge=1, le=63)] = 25
    sigma: tuple[Annotated[float, Meta(ge=0, le=8)], Annotated[float, Meta(ge=0, le=8)]] = (0.1, 0.6)
    modes: Modes = Modes()

    def __post_init__(self) -> None:
        check_order(self, "sigma")
        if self.size % 2 == 0:
            raise ValueError(f"`size` is {self.size}: a filter's size is odd")


class Colours(Strict, frozen=True, kw_only=True):
    """Gaussian noise, drawn per channel (`colour`), equal in the channels (`gray`), or with a random covariance.

    The three probabilities sum to one. `sigma` is in whole levels of 0 to 255, uniform; `correlated_sigma` takes its
    place in the third case, where the covariance is its square times |U^T D U|, with a random rotation U and D
    uniform in 0 to 1.
    """

    colour: Probability = 0.4
    gray: Probability = 0.4
    correlated: Probability = 0.2
    sigma: tuple[Annotated[int, Meta(ge=0, le=64)], Annotated[int, Meta(ge=0, le=64)]] = (2, 25)
    correlated_sigma: Annotated[float, Meta(ge=0, le=64)] = 25.0

    def __post_init__(self) -> None:
        check_sum(self, "colour", "gray", "correlated")
        check_order(self, "sigma")


class Shuffled(Strict, frozen=True, kw_only=True):
    """Two blurs, two reductions, noise and JPEG (with probability `jpeg`), shuffled; then JPEG for certain.

    The first reduction always comes before the second. For scale 4, with probability `halve` the image is first
    halved, and the rest then reckons with scale 2; that halving is antialiased with probability `antialiased`.
    `quality` is a whole number, uniform, both ends included.
    """

    halve: Probability = 0.25
    antialiased: Probability = 0.5
    blur: Blurs = Blurs()
    reduce: Reductions = Reductions()
    noise: Colours = Colours()
    jpeg: Probability = 0.9
    quality: Qualities = (30, 95)

    def __post_init__(self) -> None:
        check_order(self, "quality")
