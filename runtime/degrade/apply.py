"""Steps onto pixels, one after another. Everything random but the noise fields was drawn before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.degrade import steps as s
from lqhq.runtime.degrade.draws import Draws
from lqhq.runtime.degrade.filters import blur_weights, gaussian_row, sinc_weights, subsample_weights
from lqhq.runtime.degrade.noising import correlated_noise, gaussian_noise, poisson_noise
from lqhq.runtime.degrade.resizing import resize
from lqhq.runtime.degrade.vips_ops import convolve, through_jpeg
from lqhq.runtime.errors import LimitError
from lqhq.runtime.geometry import Size

__all__ = ["MAX_PIXELS", "MAX_SIDE", "apply_steps", "check_size"]

Image = NDArray[np.float32]
MAX_PIXELS = 1 << 27  # at any stage; 1.5 GiB as float32 RGB, of which a few are held
MAX_SIDE = 65500  # the longest that JPEG's library writes


def apply_steps(pixels: NDArray[np.uint8], steps: Sequence[s.Step], *, lq: Size, key: bytes) -> NDArray[np.uint8]:
    """Run `steps` on `pixels`, uint8 `[H, W, 3]` RGB, in float32 from 0 to 1, and round to uint8 at the end.

    `lq` is the low-quality image's size. Step number i takes its noise from stream i + 1 of `key`. Values may leave
    [0, 1] between steps (filters overshoot); noise and JPEG clip them, and so does the end. Raises `LimitError` where a
    stage would be too large.
    """
    image = _unit(pixels)
    for index, step in enumerate(steps):
        image = _applied(image, step, lq, Draws(key, index + 1))
    return _levels(image)


def check_size(size: Size) -> None:
    """Raise `LimitError` for what is too large to be worked on."""
    if size.pixels > MAX_PIXELS or max(size) > MAX_SIDE:
        raise LimitError(
            "degradation",
            found=f"{size.width} x {size.height} pixels at one of its stages",
            expected=f"at most {MAX_PIXELS} pixels and {MAX_SIDE} along a side",
            mend="Cut the image into parts first, as training pairs are.",
        )


def _applied(image: Image, step: s.Step, lq: Size, draws: Draws) -> Image:
    match step:
        case s.Sharpen():
            return _sharpened(image, step)
        case s.Blur():
            return convolve(image, blur_weights(step))
        case s.Sinc():
            return convolve(image, sinc_weights(step))
        case s.Resize():
            size = _scaled(Size(*image.shape[:2]) if step.of == "image" else lq, step.factor)
            return resize(image, size, step.mode)
        case s.Subsample():
            return np.ascontiguousarray(convolve(image, subsample_weights(step))[:: step.factor, :: step.factor])
        case s.GaussianNoise():
            return gaussian_noise(image, step, draws)
        case s.CorrelatedNoise():
            return correlated_noise(image, step, draws)
        case s.PoissonNoise():
            return poisson_noise(image, step, draws)
        case s.Jpeg():
            return _unit(through_jpeg(_levels(image), step.quality))


def _scaled(size: Size, factor: float) -> Size:
    scaled = Size(*(max(1, int(length * factor)) for length in size))
    check_size(scaled)
    return scaled


def _sharpened(image: Image, step: s.Sharpen) -> Image:
    """The mask of where to sharpen is blurred too, so that it has no edges. Source: Real-ESRGAN's released code."""
    row = gaussian_row(step.size)[None, :]
    residual = image - _blurred(image, row)
    mask = (np.abs(residual) * 255 > step.threshold).astype(np.float32)
    soft = _blurred(mask, row)
    sharp = np.clip(image + np.float32(step.weight) * residual, 0, 1)
    blended: Image = soft * sharp + (1 - soft) * image
    return blended


def _blurred(image: Image, row: NDArray[np.float64]) -> Image:
    return convolve(convolve(image, row), row.T)


def _unit(levels: NDArray[np.uint8]) -> Image:
    return levels.astype(np.float32) / np.float32(255)


def _levels(image: Image) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
