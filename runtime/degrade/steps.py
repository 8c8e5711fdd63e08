"""What is done to an image, with every number: values that can be printed, kept as JSON and run again.

Noise fields are not part of a step: they follow from the key and the step's place in the row.
"""

from __future__ import annotations

from typing import Literal

from lqhq.runtime.manifest_types import Strict

__all__ = [
    "Blur",
    "BlurKind",
    "CorrelatedNoise",
    "GaussianNoise",
    "Jpeg",
    "Mode",
    "PoissonNoise",
    "Resize",
    "Sharpen",
    "Sinc",
    "Step",
    "Subsample",
]

BlurKind = Literal["iso", "aniso", "generalised_iso", "generalised_aniso", "plateau_iso", "plateau_aniso"]
Mode = Literal["area", "bilinear", "bicubic", "antialiased"]
Row = tuple[float, float, float]


class Sharpen(Strict, frozen=True, kw_only=True, tag="sharpen", tag_field="op"):
    """Unsharp mask: where the image leaves its blur by more than `threshold` levels, add `weight` times the difference.

    `size` is that of the Gaussian, in pixels, odd.
    """

    weight: float
    size: int
    threshold: float


class Blur(Strict, frozen=True, kw_only=True, tag="blur", tag_field="op"):
    """A filter of `size` pixels; `sigma` in pixels along its own x and y, turned by `angle` radians."""

    kind: BlurKind
    size: int
    sigma: tuple[float, float]
    angle: float = 0.0
    beta: float = 1.0


class Sinc(Strict, frozen=True, kw_only=True, tag="sinc", tag_field="op"):
    """A circular low-pass filter, which rings; `cutoff` is a part of the highest frequency, pi radians a pixel."""

    size: int
    cutoff: float


class Resize(Strict, frozen=True, kw_only=True, tag="resize", tag_field="op"):
    """To `factor` times the size of the image as it stands, or of the low-quality image at the end; rounded down."""

    mode: Mode
    factor: float
    of: Literal["image", "lq"]


class Subsample(Strict, frozen=True, kw_only=True, tag="subsample", tag_field="op"):
    """One value of each cell of `factor` x `factor` pixels: a Gaussian mean around its middle, of `sigma` pixels."""

    sigma: float
    size: int
    factor: int


class GaussianNoise(Strict, frozen=True, kw_only=True, tag="gaussian_noise", tag_field="op"):
    """`sigma` in levels of 0 to 255; `gray` noise is the same in the three channels."""

    sigma: float
    gray: bool


class CorrelatedNoise(Strict, frozen=True, kw_only=True, tag="correlated_noise", tag_field="op"):
    """Gaussian, with this covariance of red, green and blue, in squared levels."""

    covariance: tuple[Row, Row, Row]


class PoissonNoise(Strict, frozen=True, kw_only=True, tag="poisson_noise", tag_field="op"):
    """Shot noise times `scale`; `gray` noise is the same in the three channels."""

    scale: float
    gray: bool


class Jpeg(Strict, frozen=True, kw_only=True, tag="jpeg", tag_field="op"):
    """Through a JPEG of this quality and back."""

    quality: int


Step = Sharpen | Blur | Sinc | Resize | Subsample | GaussianNoise | CorrelatedNoise | PoissonNoise | Jpeg
