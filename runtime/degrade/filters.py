"""The weights of blurs and of sinc filters, from their formulas. Nothing here sees an image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.degrade.steps import Blur, Sinc, Subsample

__all__ = ["blur_weights", "gaussian_row", "sinc_weights", "subsample_weights"]

Weights = NDArray[np.float64]
NARROWEST = 0.05  # pixels; the neighbour of a Gaussian's middle has exp(-200) there, and 0 would divide by zero
BESSEL_POINTS = 256  # the sum errs by J255(x): nothing up to x = 200, and 63 pixels make 138 at most


def blur_weights(blur: Blur) -> Weights:
    """`[size, size]`, summing to one, symmetric about the middle.

    With q = x^T S^-1 x, where S has the variances `sigma` along axes turned by `angle` (counter-clockwise with y
    pointing up): Gaussian exp(-q / 2), generalised exp(-q^beta / 2), plateau 1 / (1 + q^beta). Sources: BSRGAN (arXiv
    2103.14006) for the Gaussians; Liu et al., arXiv 1904.02976, as Real-ESRGAN (arXiv 2107.10833) uses them, for the
    other two.
    """
    x, y = _grid(blur.size)
    cos, sin = math.cos(blur.angle), math.sin(blur.angle)
    along, across = x * cos - y * sin, x * sin + y * cos
    sigma_x, sigma_y = (max(sigma, NARROWEST) for sigma in blur.sigma)
    q = (along / sigma_x) ** 2 + (across / sigma_y) ** 2
    raised = q**blur.beta
    return _to_one(1 / (1 + raised) if blur.kind.startswith("plateau") else np.exp(-0.5 * raised))


def sinc_weights(sinc: Sinc) -> Weights:
    """`[size, size]`, summing to one: w J1(w r) / (2 pi r) at distance r, w^2 / (4 pi) in the middle.

    w = pi * `cutoff`: the inverse Fourier transform of a disc of radius w, cut off at the filter's border. Source:
    Real-ESRGAN, equation 6. A cut-off of zero keeps the mean only.
    """
    w = math.pi * max(sinc.cutoff, 1e-6)
    x, y = _grid(sinc.size)
    r = np.hypot(x, y)
    middle = r == 0
    far = np.where(middle, 1.0, r)
    return _to_one(np.where(middle, w * w / (4 * math.pi), w * _bessel1(w * far) / (2 * math.pi * far)))


def subsample_weights(subsample: Subsample) -> Weights:
    """`[size, size]`, summing to one: a Gaussian about the middle of the cell that begins at the filter's middle."""
    offset = (subsample.factor - 1) / 2
    x, y = _grid(subsample.size)
    sigma = max(subsample.sigma, NARROWEST)
    # Less its least value, or a narrow Gaussian between two pixels would vanish altogether.
    q = ((x - offset) ** 2 + (y - offset) ** 2) / sigma**2
    return _to_one(np.exp(-0.5 * (q - q.min())))


def gaussian_row(size: int) -> Weights:
    """`[size]`, summing to one: the Gaussian that OpenCV takes where only a size is given.

    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8, as its documentation of getGaussianKernel says.
    """
    sigma = max(0.3 * ((size - 1) * 0.5 - 1) + 0.8, NARROWEST)
    x = np.arange(size) - size // 2
    return _to_one(np.exp(-0.5 * (x / sigma) ** 2))


def _grid(size: int) -> tuple[Weights, Weights]:
    line = np.arange(size, dtype=np.float64) - size // 2
    return line[None, :], line[:, None]


def _to_one(weights: Weights) -> Weights:
    total: Weights = weights / weights.sum()
    return total


def _bessel1(x: Weights) -> Weights:
    """J1(x), the mean of cos(t - x sin t) over a period, which equal steps sum up at once (Bessel's integral)."""
    t = np.arange(BESSEL_POINTS) * (2 * math.pi / BESSEL_POINTS)
    mean: Weights = np.cos(t - x[..., None] * np.sin(t)).mean(axis=-1)
    return mean
