"""Enlarging by an integer factor, any part of it alone, with the bits of the whole.

It holds the two bicubic kernels that packages name. It does not shrink, normalise, clip or round.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Box, Size

__all__ = ["Filter", "enlarge"]

Filter = Literal["bicubic", "bicubic_075"]

TAPS = 4  # a cubic kernel reaches two source pixels to either side
BLOCK = 1 << 16  # floats per block of rows: source, sum and product stay in a 2 MiB cache


def enlarge(
    image: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32], factor: int, filter: Filter, box: Box
) -> NDArray[np.float32]:
    """Return the part `box` of `image` enlarged `factor` times, bit for bit as in the whole enlargement.

    `image` is `[H, W, C]` uint8, uint16 or float32; the result is float32 `[box.height, box.width, C]` in the
    same units, not clipped (the kernels overshoot). `box` is in pixels of the enlarged canvas
    `[H * factor, W * factor]`; only the source pixels under its taps are read. Sampling is at pixel centres:
    output o lies at source (o + 0.5) / factor - 0.5.

    The kernel is Keys' cubic convolution (1981). `bicubic`: a = -0.5, taps outside the image are dropped and
    the rest made to sum to one, as Pillow and torch with antialias=True do when enlarging. `bicubic_075`: a =
    -0.75, taps outside read the nearest edge pixel, as torch with antialias=False.

    Raises `OptionError` for an unknown filter, a factor below 1, or a box that leaves the canvas.
    """
    canvas = _canvas(image.shape, factor, filter, box)
    y_index, y_weight = _taps(box.top, box.height, factor, canvas.height // factor, filter)
    x_index, x_weight = _taps(box.left, box.width, factor, canvas.width // factor, filter)
    y0, x0, channels = int(y_index.min()), int(x_index.min()), image.shape[2]
    part = image[y0 : int(y_index.max()) + 1, x0 : int(x_index.max()) + 1].astype(np.float32)

    # Along x first, as Pillow: there are still few rows. Channels join the columns, so that the inner loops
    # are long; each value is the same chain of float32 products and sums whatever the box.
    columns = ((x_index - x0)[:, :, None] * channels + np.arange(channels)).reshape(TAPS, -1)
    row_weight = np.repeat(x_weight, channels, axis=1)
    flat = part.reshape(part.shape[0], -1)
    wide = np.take(flat, columns[0], axis=1) * row_weight[0]
    for tap in range(1, TAPS):
        wide += np.take(flat, columns[tap], axis=1) * row_weight[tap]

    out = np.empty((box.height, wide.shape[1]), np.float32)
    step = max(1, BLOCK // wide.shape[1])
    for top in range(0, box.height, step):
        rows, weights = y_index[:, top : top + step] - y0, y_weight[:, top : top + step, None]
        block = out[top : top + step]
        np.multiply(wide[rows[0]], weights[0], out=block)
        for tap in range(1, TAPS):
            block += wide[rows[tap]] * weights[tap]
    return out.reshape(box.height, box.width, channels)


def _taps(
    first: int, count: int, factor: int, size: int, filter: Filter
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Source indices and weights, both `[TAPS, count]`, of outputs first .. first + count - 1 along one axis."""
    output = np.arange(first, first + count)
    # The offset depends on the phase alone, so that equal phases get equal weights anywhere in the canvas.
    offset = (output % factor + 0.5) / factor - 0.5
    below = np.floor(offset)
    index = (output // factor + below.astype(np.intp)) + np.arange(-1, 3)[:, None]
    weight = _cubic(np.arange(-1, 3)[:, None] + below - offset, -0.5 if filter == "bicubic" else -0.75)
    if filter == "bicubic":
        weight = np.where((index >= 0) & (index < size), weight, 0.0)
        weight = weight / weight.sum(axis=0)
    return np.clip(index, 0, size - 1), weight.astype(np.float32)


def _cubic(distance: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Keys' kernel: 1 at 0, 0 at the other integers and beyond 2."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _canvas(shape: tuple[int, ...], factor: int, filter: str, box: Box) -> Size:
    """The size of the whole enlargement, after the checks that `enlarge` promises."""
    if filter not in get_args(Filter):
        names = " or ".join(get_args(Filter))
        raise OptionError("resize filter", found=repr(filter), expected=names, mend="Name one of these filters.")
    if factor < 1:
        raise OptionError(
            "resize factor",
            found=str(factor),
            expected="an integer of 1 or more",
            mend="Only enlarging is done.",
        )
    canvas = Size(shape[0] * factor, shape[1] * factor)
    inside = 0 <= box.top < box.bottom <= canvas.height and 0 <= box.left < box.right <= canvas.width
    if not inside:
        raise OptionError(
            "resize box",
            found=f"{tuple(box)}",
            expected=f"a non-empty (top, left, height, width) inside {canvas.height} x {canvas.width}",
            mend="Cut the box at the canvas; a canvas without pixels has no part to ask for.",
        )
    return canvas
