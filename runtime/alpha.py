"""Transparency kept apart: colour and alpha are restored one by one, alpha is straight (not premultiplied).

A fully transparent pixel has a colour nobody sees, often black. A filter or a network that looks at it draws
it into the visible edge, which is the dark fringe. `bleed` puts the colour of the nearest visible pixels
there instead.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels import FULL_SCALE
from lqhq.runtime.errors import ImageError

__all__ = ["bleed", "constant_value", "join_alpha", "split_alpha"]

Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32])


def split_alpha(image: Pixels) -> tuple[Pixels, Pixels | None]:
    """Return (colour, alpha) of `image` `[H, W, C]`: views `[H, W, C - 1]` and `[H, W, 1]` where C is 2 or 4.

    Alpha is None where C is 1 or 3. Raises `ImageError` for any other number of channels.
    """
    channels = image.shape[2] if image.ndim == 3 else 0
    if channels not in (1, 2, 3, 4):
        raise ImageError(
            "image",
            found=f"shape {image.shape}",
            expected="[H, W, C] with 1 to 4 channels: grey, grey and alpha, RGB, or RGB and alpha",
            mend="Convert the image to one of these.",
        )
    if channels % 2:
        return image, None
    return image[:, :, :-1], image[:, :, -1:]


def join_alpha(colour: Pixels, alpha: Pixels) -> Pixels:
    """Return `[H, W, C + 1]` of `colour` `[H, W, C]` and `alpha` `[H, W, 1]`, of one size and dtype.

    Raises `ImageError` where they differ.
    """
    if colour.shape[:2] != alpha.shape[:2] or colour.dtype != alpha.dtype or alpha.shape[2] != 1:
        raise ImageError(
            "alpha",
            found=f"{alpha.dtype} {alpha.shape} beside a colour of {colour.dtype} {colour.shape}",
            expected="one size, one dtype, and one channel of alpha",
            mend="Restore colour and alpha with the same scale and dtype.",
        )
    joined: Pixels = np.concatenate([colour, alpha], axis=2)
    return joined


def constant_value(alpha: NDArray[Any]) -> int | float | None:
    """The one value that all of `alpha` has, or None: a constant alpha needs no network, only a fill."""
    first = alpha.flat[0]
    value: int | float = first.item()
    return value if bool((alpha == first).all()) else None


def bleed(colour: Pixels, alpha: NDArray[Any]) -> Pixels:
    """Return a copy of `colour` `[H, W, C]`, with new colours only where `alpha` `[H, W, 1]` is zero.

    Push and pull over a pyramid (Gortler et al., "The Lumigraph", 1996, section 3.5): averages weighted by
    alpha on the way up, so that barely visible pixels count little, and linear enlarging into the holes on
    the way down. What was hidden before has no influence; an image without one visible pixel becomes black.
    Integers are rounded.
    """
    hidden = alpha[:, :, 0] == 0
    filled: Pixels = colour.copy()
    if not hidden.any():
        return filled
    weight = alpha.astype(np.float32) / np.float32(FULL_SCALE[alpha.dtype.name])
    values = _pull(colour.astype(np.float32) * weight, weight)[hidden]
    if colour.dtype.kind == "u":
        values = np.clip(np.rint(values), 0, FULL_SCALE[colour.dtype.name])
    filled[hidden] = values.astype(colour.dtype)
    return filled


def _pull(weighted: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours everywhere: weighted / weight where there is weight, from the next coarser level elsewhere."""
    seen = weight > 0
    known = np.divide(weighted, weight, out=np.zeros_like(weighted), where=seen)
    if seen.all() or weight.size == 1:
        return known
    height, width = weight.shape[:2]
    coarse = _pull(_halve(weighted), _halve(weight))
    rows = _double(coarse)[:height]
    smooth = _double(rows.swapaxes(0, 1))[:width].swapaxes(0, 1)
    return np.where(seen, known, smooth)


def _halve(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of 2x2 pixels, `[H, W, C]` -> `[ceil(H / 2), ceil(W / 2), C]`; an odd edge has no weight beyond."""
    even = np.pad(level, ((0, level.shape[0] % 2), (0, level.shape[1] % 2), (0, 0)))
    # A mean, not a sum: weights stay in 0..1 however many levels there are.
    total: NDArray[np.float32] = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    total *= np.float32(0.25)
    return total


def _double(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Twice the rows, linear between row centres (3/4 and 1/4), edge rows repeated."""
    padded = np.pad(level, ((1, 1), (0, 0), (0, 0)), mode="edge")
    own = level * np.float32(0.75)
    out = np.empty((2 * level.shape[0], *level.shape[1:]), np.float32)
    out[::2] = own + np.float32(0.25) * padded[:-2]
    out[1::2] = own + np.float32(0.25) * padded[2:]
    return out
