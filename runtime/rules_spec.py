"""Steps of a manifest that only some models have: the rule for small images, and a second, original set of rules."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lqhq.runtime.manifest_types import Side, Strict

__all__ = ["ColourStep", "EnlargeSmall", "Fit", "OriginalRules", "OriginalUpscale"]


class EnlargeSmall(Strict, frozen=True, kw_only=True, tag="enlarge_small", tag_field="op"):
    """An image with a side below `side` is enlarged first, by bicubic, so that its shorter side is `side`.

    The network was not trained for less. The result is shrunk again to `scale` times the image as it came.
    """

    side: Side


class ColourStep(Strict, frozen=True, kw_only=True, tag="colour_fix", tag_field="op"):
    """Give the result the colours of the prepared image, unless the caller asks for another fix or none."""

    kind: Literal["adain", "wavelet"]


class OriginalUpscale(Strict, frozen=True, kw_only=True, tag="upscale", tag_field="op"):
    """Enlarge `factor` times by Pillow's bicubic filter, in 8 bits."""

    factor: Annotated[int, Meta(ge=1, le=16)]


class Fit(Strict, frozen=True, kw_only=True, tag="fit", tag_field="op"):
    """Shrink each side to a multiple of `multiple` by Pillow's Lanczos filter, in 8 bits: no pixel is cut or added."""

    multiple: Side


class OriginalRules(Strict, frozen=True, kw_only=True):
    """How the model's own program treats sizes and rounding, for parity with it; where it is worse than ours, too.

    `small` is the side below which an image is enlarged first: both sides are multiplied and truncated, by Pillow's
    bicubic filter in 8 bits, and the result keeps that size. Then `steps`. Levels are truncated, not rounded, before
    and after the colour fix. Tiles are squares that no side of the canvas falls short of, blended with a Gaussian whose
    centre lies half a latent lower than the tile's; canvases of no more than a tile's area are not tiled.
    """

    small: Side
    steps: tuple[OriginalUpscale, Fit]
    window: Literal["gaussian"] = "gaussian"
