"""One low-quality partner of one image: drawn, applied, and told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.degrade.apply import apply_steps, check_size
from lqhq.runtime.degrade.draws import KEY_BYTES, Draws
from lqhq.runtime.degrade.presets import Degradation, Plain
from lqhq.runtime.degrade.second_order import SecondOrder
from lqhq.runtime.degrade.second_order_steps import draw_second_order
from lqhq.runtime.degrade.shuffled import Shuffled
from lqhq.runtime.degrade.shuffled_steps import draw_shuffled
from lqhq.runtime.degrade.steps import Resize, Step
from lqhq.runtime.errors import ImageError, OptionError
from lqhq.runtime.geometry import Size

__all__ = ["MAX_SCALE", "Degraded", "crop_to_scale", "degrade", "draw_steps"]

MAX_SCALE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """`pixels`: uint8 `[h, w, 3]` RGB. `parameters`: the steps in their order, each `{"op": ..., ...}`, JSON values."""

    pixels: NDArray[np.uint8]
    parameters: tuple[dict[str, Any], ...]


def degrade(image: NDArray[np.uint8], degradation: Degradation, *, scale: int, key: bytes) -> Degraded:
    """Return a low-quality partner of `image`, uint8 `[H, W, 3]` RGB, of floor(H / scale) x floor(W / scale) pixels.

    It is made of `crop_to_scale(image, scale)`, the high-quality half of the pair, scale times as large exactly; that
    half stays as it is, also where the degradation itself starts by sharpening. `key`, 32 bytes, decides everything
    random: the same key gives the same bytes, on one machine and in one version, whatever ran before or beside it.

    Raises `ImageError` for another kind of array or an image smaller than `scale`; `OptionError` for a scale outside 1
    to 16 or a key of another length; `LimitError` for an image, or a stage on the way, of more than 2^27 pixels or
    65500 along a side.
    """
    hq = crop_to_scale(image, scale)
    size = Size(*hq.shape[:2])
    check_size(size)
    steps = draw_steps(degradation, scale=scale, key=key)
    lq = Size(size.height // scale, size.width // scale)
    pixels = apply_steps(hq, steps, lq=lq, key=key)
    return Degraded(pixels=pixels, parameters=tuple(msgspec.json.decode(msgspec.json.encode(step)) for step in steps))


def draw_steps(degradation: Degradation, *, scale: int, key: bytes) -> tuple[Step, ...]:
    """What `degrade` does to any image with these arguments. Raises `OptionError` as it does."""
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        raise OptionError(
            "key",
            found=f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__,
            expected=f"{KEY_BYTES} bytes",
            mend="Take the SHA-256 of whatever the pair is to depend on.",
        )
    _check_scale(scale)
    match degradation:
        case SecondOrder():
            return draw_second_order(degradation, Draws(key, 0))
        case Shuffled():
            return draw_shuffled(degradation, scale, Draws(key, 0))
        case Plain():
            return (Resize(mode="antialiased", factor=1.0, of="lq"),)


def crop_to_scale(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """The upper left part of `image` whose sides are multiples of `scale`, a view. Raises as `degrade` does."""
    _check_scale(scale)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError("image", found=found, expected="uint8 [H, W, 3], RGB", mend="Convert it to 8-bit RGB first.")
    height, width = (length - length % scale for length in image.shape[:2])
    if not height or not width:
        raise ImageError(
            "image",
            found=f"{image.shape[1]} x {image.shape[0]} pixels",
            expected=f"at least {scale} along each side, or no pixel is left at 1/{scale} of it",
            mend="Leave it out, or use a smaller scale.",
        )
    return image[:height, :width]


def _check_scale(scale: int) -> None:
    if not isinstance(scale, int) or isinstance(scale, bool) or not 1 <= scale <= MAX_SCALE:
        raise OptionError(
            "scale", found=repr(scale), expected=f"a whole number from 1 to {MAX_SCALE}", mend="4 is the usual one."
        )
