"""Colour fix after restoration: give the restored image the colours of what went into the network.

Statistics are those of the whole image; the work goes in strips of rows, so that an image of any size needs
only a few strips in float. Alpha is not known here: three or one channels, each on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels import FULL_SCALE
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Box

__all__ = ["ColourFix", "Rounding", "Source", "fix_colour"]

ColourFix = Literal["adain", "wavelet"]
Rounding = Literal["round", "truncate"]
Source = Callable[[Box], NDArray[np.float32]]
Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32])

RADII = (1, 2, 4, 8, 16)  # five levels of the a-trous wavelet, dilation 2^i
HALO = sum(RADII)  # rows above and below that a finished row depends on
STRIP_ROWS = 128  # 20 MB per float32 plane of a strip 8000 px wide; the halo adds half to the wavelet's work
EPSILON = 1e-5  # added to the variance, not to the deviation


def fix_colour(kind: ColourFix, hq: Pixels, source: Source, *, mode: Rounding, strip_rows: int = STRIP_ROWS) -> Pixels:
    """Return `hq` with the colours of `source`, as a new array of the same shape and dtype.

    `hq` is `[H, W, C]`, uint8, uint16 or float32 in 0..1. `source(box)` returns that part of the prepared
    network input at the size of `hq`, float32 `[box.height, box.width, C]` in 0..1; it is asked for
    full-width strips, top to bottom, with a halo of 31 rows for `wavelet`. The result is clipped to 0..1;
    integers are rounded half to even, or with mode `truncate` cut off, as OSEDiff does: its results are half a
    level dark on average.

    `adain`, per channel: (hq - mean_hq) / std_hq * std_source + mean_source, std = sqrt(unbiased variance +
    1e-5) (adaptive instance normalisation, Huang and Belongie 2017, as in StableSR and OSEDiff).
    `wavelet`: high bands of hq + low band of source, five levels of [1 2 1] x [1 2 1] / 16 with dilation 2^i
    and replicated edges (StableSR, OSEDiff).

    Raises `OptionError` for an unknown kind, or a source whose strips have another shape than asked for.
    """
    if kind not in get_args(ColourFix):
        raise OptionError(
            "colour fix",
            found=repr(kind),
            expected=" or ".join(get_args(ColourFix)),
            mend="Name one of these, or leave the colour fix out.",
        )
    fix = _adain if kind == "adain" else _wavelet
    out = np.empty_like(hq)
    for rows, strip in fix(hq, _checked(source, hq.shape), strip_rows):
        np.clip(strip, 0.0, 1.0, out=strip)
        strip *= np.float32(FULL_SCALE[hq.dtype.name])
        if mode == "round" and hq.dtype.kind == "u":
            np.rint(strip, out=strip)
        out[rows] = strip.astype(hq.dtype)  # truncates towards zero
    return out


def _adain(hq: NDArray[Any], source: Source, strip_rows: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    boxes = list(_strips(hq.shape, strip_rows))
    mean, deviation = _statistics(_unit(hq[box.rows]) for box in boxes)
    mean_source, deviation_source = _statistics(source(box) for box in boxes)
    for box in boxes:
        strip = _unit(hq[box.rows])
        strip -= mean
        strip /= deviation
        strip *= deviation_source
        strip += mean_source
        yield box.rows, strip


def _statistics(strips: Iterator[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation per channel; in float64 plain sums of values in 0..1 are good to far below EPSILON."""
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for strip in strips:
        wide = strip.astype(np.float64)
        count += wide.shape[0] * wide.shape[1]
        # Rows first: adding whole rows is several times faster than reducing next to a short channel axis.
        total = total + wide.sum(axis=0).sum(axis=0)
        wide *= wide
        squares = squares + wide.sum(axis=0).sum(axis=0)
    # A single pixel has no unbiased variance; it counts as flat.
    variance = np.maximum(squares - total * total / count, 0.0) / max(count - 1, 1)
    return (total / count).astype(np.float32), np.sqrt(variance + EPSILON).astype(np.float32)


def _wavelet(hq: NDArray[Any], source: Source, strip_rows: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """high(hq) + low(source) = hq - low(hq) + low(source) = hq + low(source - hq): one cascade, not two.

    The low band is linear and the high bands telescope, so this is the same value up to float32 rounding, and
    where hq equals its source it comes back exactly.
    """
    for box in _strips(hq.shape, strip_rows):
        top, bottom = max(0, box.top - HALO), min(hq.shape[0], box.bottom + HALO)
        difference = source(Box(top, 0, bottom - top, hq.shape[1])) - _unit(hq[top:bottom])
        low = _low_band(difference, top, hq.shape[0])
        first = box.top if top == 0 else 0  # a cut above has eaten the whole halo, the image's edge nothing
        strip = _unit(hq[box.rows])
        strip += low[first : first + box.height]
        yield box.rows, strip


def _low_band(strip: NDArray[np.float32], top: int, height: int) -> NDArray[np.float32]:
    """Fifth low band of the rows that `strip` determines: `[h, W, C]`, from row `top` of `height` rows.

    Each level loses its radius in rows at a cut, and replicates its own first or last row at an edge of the
    image.
    """
    bottom = top + strip.shape[0]
    for radius in RADII:
        first = 0 if top == 0 else top + radius
        last = height if bottom == height else bottom - radius
        rows = np.arange(first, last)
        above, below = np.maximum(rows - radius, 0) - top, np.minimum(rows + radius, height - 1) - top
        tall = strip[first - top : last - top] * np.float32(2)
        tall += strip[above]
        tall += strip[below]
        strip = tall * np.float32(2)
        strip[:, radius:] += tall[:, :-radius]
        strip[:, :radius] += tall[:, :1]
        strip[:, :-radius] += tall[:, radius:]
        strip[:, -radius:] += tall[:, -1:]
        strip *= np.float32(1 / 16)
        top, bottom = first, last
    return strip


def _strips(shape: tuple[int, ...], strip_rows: int) -> Iterator[Box]:
    for top in range(0, shape[0], strip_rows):
        yield Box(top, 0, min(strip_rows, shape[0] - top), shape[1])


def _unit(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """A float32 copy in 0..1."""
    # A division, no product with the inverse: so value / 255 * 255 truncates to the value again, for all of
    # them.
    return pixels.astype(np.float32) / np.float32(FULL_SCALE[pixels.dtype.name])


def _checked(source: Source, shape: tuple[int, ...]) -> Source:
    def checked(box: Box) -> NDArray[np.float32]:
        strip = source(box)
        if strip.shape != (*box.size, shape[2]):
            raise OptionError(
                "colour fix source",
                found=f"shape {strip.shape}",
                expected=f"{(*box.size, shape[2])} for {box}",
                mend="Give the prepared image, with the size and the channels of the result.",
            )
        return strip

    return checked
