"""The image as the network sees it, computed box by box: enlarged, padded, in the network's range and order.

Nothing of full size is made, so an image of any size costs what its boxes cost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels import FULL_SCALE, tensor_from_pixels
from lqhq.runtime.geometry import Box, Size, round_up
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.resize import enlarge

__all__ = ["PreparedImage", "canvas_size"]


def canvas_size(size: Size, manifest: Manifest) -> Size:
    """The padded canvas of an image of `size`."""
    pad = manifest.pad
    return Size(*(round_up(max(length, pad.smallest), pad.multiple) for length in size.scaled(manifest.factor)))


def _fold(start: int, count: int, length: int, mode: str) -> NDArray[np.intp]:
    """Source index of each canvas position: beyond the end it mirrors, with or without the edge, or repeats it."""
    positions = np.arange(start, start + count)
    if mode == "edge" or length == 1:
        return np.minimum(positions, length - 1)
    last = 1 if mode == "symmetric" else 0  # the edge pixel comes twice
    period = 2 * (length - 1 + last)
    folded = positions % period
    return np.minimum(folded, period - last - folded)


class PreparedImage:
    """A lazy canvas over `image` `[H, W, 1 or 3]` (uint8, uint16, or float32 in [0, 1]), with its `hole` `[H, W]`.

    A manifest with the step mask_out needs the hole (bool), others take none.
    """

    def __init__(self, image: NDArray[Any], manifest: Manifest, hole: NDArray[np.bool_] | None = None) -> None:
        if (hole is None) == manifest.masked:
            raise ValueError(f"a hole is {'missing' if hole is None else 'given'}; mask_out {manifest.masked}")
        self._image, self._manifest, self._hole = image, manifest, hole
        size = Size(*image.shape[:2])
        self.size = size.scaled(manifest.factor)  # without padding
        self.canvas = canvas_size(size, manifest)

    def pixels(self, box: Box) -> NDArray[np.float32]:
        """The image at the result's size in `[0, 1]`, `[h, w, C]` float32; `box` lies inside it (no padding).

        What the graphs enlarge is enlarged here by the manifest's filter, or bicubic (a = -0.5) where it names none.
        """
        raw = self._enlarged(box, self._manifest.scale)
        unit: NDArray[np.float32] = np.divide(raw, FULL_SCALE[self._image.dtype.name], dtype=np.float32)
        return unit

    def _enlarged(self, box: Box, factor: int) -> NDArray[Any]:
        """`box` of the image, `factor` times as large, in its own units."""
        if factor == 1:
            return self._image[box.rows, box.columns]
        resize = self._manifest.resize
        return enlarge(self._image, factor, resize.filter if resize else "bicubic", box)

    def read(self, box: Box) -> NDArray[np.float32]:
        """`[C, h, w]` float32 in the network's range and order; `box` lies inside `canvas`.

        C is 3, or 4 with a hole: its pixels are zero, and the last channel is 1 there.
        """
        spec = self._manifest.pixels
        inside = box.bottom <= self.size.height and box.right <= self.size.width
        real, at = (box, None) if inside else self._folded(box)
        part = self._enlarged(real, self._manifest.factor)
        tensor = tensor_from_pixels(
            part if at is None else part[at],
            full_scale=FULL_SCALE[self._image.dtype.name],
            value_range=spec.range,
            order=spec.order,
        )
        if self._hole is None:
            return tensor
        hole = self._hole[real.rows, real.columns]
        hole = hole if at is None else hole[at]
        tensor[:, hole] = 0
        return np.concatenate([tensor, hole[None].astype(np.float32)])

    def _folded(self, box: Box) -> tuple[Box, tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """The box without padding that all of `box` is taken from, and where in it each pixel is."""
        mode = self._manifest.pad.mode
        rows = _fold(box.top, box.height, self.size.height, mode)
        columns = _fold(box.left, box.width, self.size.width, mode)
        top, left = int(rows.min()), int(columns.min())
        real = Box(top, left, int(rows.max()) - top + 1, int(columns.max()) - left + 1)
        return real, ((rows - top)[:, None], (columns - left)[None, :])
