"""Resampling a whole image to any size, larger or smaller: in float32, or with the bits of Pillow's 8-bit arithmetic.

Both are separable, along x first and then along y, with the same kernels and taps; an axis that keeps its length is
left alone. Parts of an enlargement by a whole factor are `resize.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Size

__all__ = ["Kernel", "resample", "resample_u8"]

Kernel = Literal["bicubic", "lanczos"]

REACH = {"bicubic": 2.0, "lanczos": 3.0}  # source pixels to either side, when enlarging
PRECISION_BITS = 32 - 8 - 2  # Pillow's: 8 for the value, 2 for what the kernels overshoot
BAND = 1 << 21  # values per band of source rows: 8 MB in float32, of which a few are held at a time
BLOCK = 1 << 16  # values per block of sums: it stays in a 2 MiB cache with its source and product


class _Taps(NamedTuple):
    """Where each of n outputs along one axis reads, and how much: `[K, n]` both, float64; unused taps weigh 0."""

    source: NDArray[np.intp]
    weight: NDArray[Any]


def resample(
    image: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32], size: Size, filter: Kernel
) -> NDArray[np.float32]:
    """Return `image` `[H, W, C]` at `size`, float32 `[*size, C]` in its own units, not clipped (kernels overshoot).

    Output o lies at source (o + 0.5) * H / H' - 0.5. When shrinking, the kernel is widened by H / H' (antialiasing).
    Taps outside the image are dropped, the rest made to sum to one, as Pillow and torch with antialias=True do.
    `bicubic` is Keys' kernel (1981) with a = -0.5; `lanczos` is sinc(x) * sinc(x / 3) within 3 pixels.

    Raises `OptionError` for an unknown filter or an empty size.
    """
    out = np.empty((*_checked(size, filter), image.shape[2]), np.float32)
    _fill(out, image, filter, exact=False)
    return out


def resample_u8(image: NDArray[np.uint8], size: Size, filter: Kernel) -> NDArray[np.uint8]:
    """Return `image` uint8 `[H, W, C]` at `size`, bit for bit as Pillow's `Image.resize` does with 8-bit modes.

    Its weights are rounded to 22 binary places (halves away from zero), and each of the two passes rounds its sums to
    8 bits (halves up) and clips them. Always along x first, as Pillow 9.5; version 13.0 goes along y first where the
    height shrinks more than the width, and is a few levels away there. Source: Pillow's ImagingResample; equal to
    version 9.5 at 20 000 pairs of sizes. Raises as `resample` does.
    """
    out = np.empty((*_checked(size, filter), image.shape[2]), np.uint8)
    _fill(out, image, filter, exact=True)
    return out


def _fill(out: NDArray[Any], image: NDArray[Any], filter: Kernel, *, exact: bool) -> None:
    """Resample `image` into `out`, band by band: only the result is of full size."""
    (height, width, channels), target = image.shape, Size(*out.shape[:2])
    columns = None if width == target.width else _weights(width, target.width, filter, exact)
    rows = None if height == target.height else _weights(height, target.height, filter, exact)
    source_rows = max(1, BAND // (max(width, target.width) * channels))
    for band in _bands(target.height, max(1, source_rows * target.height // height)):
        if rows is None:
            out[band] = _along_columns(image[band], columns, exact)
            continue
        index = rows.source[:, band]
        top = int(index.min())
        wide = _along_columns(image[top : int(index.max()) + 1], columns, exact)
        flat = wide.reshape(wide.shape[0], -1)
        out[band] = _along_rows(flat, _Taps(index - top, rows.weight[:, band]), exact).reshape(out[band].shape)


def _bands(length: int, step: int) -> Iterator[slice]:
    for top in range(0, length, step):
        yield slice(top, min(top + step, length))


def _along_columns(image: NDArray[Any], taps: _Taps | None, exact: bool) -> NDArray[Any]:
    """`[h, w, C]` to `[h, n, C]`. Turned so that taps are whole rows: those are copied several times faster."""
    if taps is None:
        return image
    height, width, channels = image.shape
    turned = image.transpose(1, 0, 2).reshape(width, height * channels)
    return _along_rows(turned, taps, exact).reshape(-1, height, channels).transpose(1, 0, 2)


def _along_rows(source: NDArray[Any], taps: _Taps, exact: bool) -> NDArray[Any]:
    """`[h, m]` to `[n, m]`: each row the weighted sum of its taps among the rows of `source`, the first tap first."""
    count = taps.source.shape[1]
    out = np.empty((count, source.shape[1]), np.uint8 if exact else np.float32)
    for block in _bands(count, max(1, BLOCK // source.shape[1])):
        index, weight = taps.source[:, block], taps.weight[:, block, None]
        total = source[index[0]] * weight[0]  # int32 or float32, as the weights
        for tap in range(1, len(index)):
            total += source[index[tap]] * weight[tap]
        if exact:
            total += 1 << (PRECISION_BITS - 1)
            total >>= PRECISION_BITS
            np.clip(total, 0, 255, out=total)
        out[block] = total
    return out


def _weights(source: int, target: int, filter: Kernel, exact: bool) -> _Taps:
    taps = _taps(source, target, filter)
    if not exact:
        return taps._replace(weight=taps.weight.astype(np.float32))
    fixed = taps.weight * (1 << PRECISION_BITS)
    return taps._replace(weight=(fixed + np.copysign(0.5, fixed)).astype(np.int32))  # the cast truncates


def _taps(source: int, target: int, filter: Kernel) -> _Taps:
    """The taps of every output along an axis of `source` pixels, in the operations and the order of Pillow's doubles.

    Pillow takes sin from the C library and NumPy may have its own: the last bit of a double can differ, and a weight
    of 22 places by that once in some hundred million.
    """
    scale = source / target
    stretch = max(scale, 1.0)
    reach = REACH[filter] * stretch
    centre = (np.arange(target) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.intp), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.intp), source)
    index = first + np.arange(int((last - first).max()))[:, None]
    position = (index - centre + 0.5) * (1.0 / stretch)
    weight = np.where(index < last, _cubic(position) if filter == "bicubic" else _lanczos(position), 0.0)
    weight /= sum(weight, np.zeros(target))
    return _Taps(np.minimum(index, source - 1), weight)


def _cubic(position: NDArray[np.float64]) -> NDArray[np.float64]:
    x, a = np.abs(position), -0.5
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(position: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = (position >= -3.0) & (position < 3.0)
    return np.where(inside, np.sinc(position) * np.sinc(position / 3.0), 0.0)


def _checked(size: Size, filter: str) -> Size:
    """`size`, after the checks that both functions promise."""
    if filter not in get_args(Kernel):
        names = " or ".join(get_args(Kernel))
        raise OptionError("resample filter", found=repr(filter), expected=names, mend="Name one of these filters.")
    if size.height < 1 or size.width < 1:
        raise OptionError(
            "resample size",
            found=f"{size.width}x{size.height}",
            expected="at least one pixel along each side",
            mend="Give a larger image, or a larger size.",
        )
    return size
