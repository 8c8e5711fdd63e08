"""The original program's own sizes: how it prepares an image, in Pillow's 8-bit arithmetic, and how it cuts latents.

For parity, defects included; the model's better rules are in `small_image.py`, `prepare.py` and `tiles.py`. Which they
are for a bundle says `rules_spec.OriginalRules`. Its rounding is the mode "truncate" of the pixel and colour steps, its
blending the window "gaussian" of `window.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.resample import resample_u8
from lqhq.runtime.rules_spec import OriginalRules

__all__ = ["original_image", "original_size", "original_tile"]


def original_size(size: Size, rules: OriginalRules) -> Size:
    """The size that `original_image` makes of an image of `size`. Raises `OptionError` where no pixel is left."""
    upscale, fit = rules.steps
    large = _enlarged(size, rules.small).scaled(upscale.factor)
    fitted = Size(*(length - length % fit.multiple for length in large))
    if 0 in fitted:
        raise OptionError(
            "original rules",
            found=f"{large.width}x{large.height} pixels after enlarging",
            expected=f"at least {fit.multiple} along each side",
            mend="Use the default rules, which pad instead.",
        )
    return fitted


def original_image(image: NDArray[Any], rules: OriginalRules) -> NDArray[np.uint8]:
    """Return `image` `[H, W, C]` uint8 as the original program gives it to its network: `[*original_size, C]` uint8.

    In this order: an image with a side below `rules.small` is enlarged; all are enlarged by the factor; then shrunk to
    the multiple. Each is one bicubic, bicubic and Lanczos resize of Pillow with 8-bit values in between; sides that
    fit are left as they are. Source: OSEDiff's test script, with Pillow 9.5.

    Raises `OptionError` for an image of another dtype, or one too small for the multiple.
    """
    if image.dtype != np.uint8:
        raise OptionError(
            "original rules",
            found=f"an image of {image.dtype}",
            expected="uint8: the original program takes 8 bits only",
            mend="Use the default rules, or give an 8-bit image.",
        )
    size = Size(*image.shape[:2])
    small, fitted = _enlarged(size, rules.small), original_size(size, rules)
    enlarged = resample_u8(resample_u8(image, small, "bicubic"), small.scaled(rules.steps[0].factor), "bicubic")
    return resample_u8(enlarged, fitted, "lanczos")


def _enlarged(size: Size, small: int) -> Size:
    """The original's rule in its doubles: truncation makes the shorter side 127, not 128, of 49, 98, 103 and 107."""
    if min(size) >= small:
        return size
    scale = small / min(size)
    return Size(*(int(scale * length) for length in size))


def original_tile(latent: Size, tile: int, overlap: int) -> Size | None:
    """The square that the original program tiles a canvas of `latent` by, or None where it does not tile it.

    `tile` and `overlap`, both in latents, are what was asked for. A canvas of no more than tile * tile latents, in any
    shape, is one call; else the tile is cut to the shorter side, and the overlap stays. So neighbours may share more
    than half of it: make the plan with `plan_tiles(..., multiple=1, dense=True)`.

    Raises `OptionError` where no step is left between tiles: the original program never ends there.
    """
    if latent.pixels <= tile * tile:
        return None
    side = min(tile, *latent)
    if side <= overlap:
        raise OptionError(
            "original rules",
            found=f"a canvas of {latent.width}x{latent.height} latents, tile {side}, overlap {overlap}",
            expected="a tile larger than the overlap: the original program runs for ever here",
            mend="Use the default rules, a smaller overlap, or a tile whose square holds the canvas.",
        )
    return Size(side, side)
