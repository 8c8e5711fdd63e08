"""Where finished rows go: cut from the canvas, turned into pixels, stored in the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels import pixels_from_tensor
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.manifest import Manifest

__all__ = ["ImageSink"]


class ImageSink:
    """Collects rows `[3, n, W]` in the network's range into `image` `[H, W, channels]` of `dtype`.

    Outside a `hole` `[H, W]` (bool) the pixels of `given`, an image like the result, are kept as they are.
    `tiles(box, pixels)` hears of what is stored, box by box: `pixels` `[h, w, channels]` is that part of `image`, which
    must not be written to.
    """

    def __init__(
        self,
        size: Size,
        *,
        channels: int,
        dtype: np.dtype[Any],
        manifest: Manifest,
        given: NDArray[Any] | None = None,
        hole: NDArray[np.bool_] | None = None,
        tiles: Callable[[Box, NDArray[Any]], None] | None = None,
    ) -> None:
        self._size, self._manifest = size, manifest
        self._given, self._hole, self._tiles = given, hole, tiles
        self.image: NDArray[Any] = np.empty((*size, channels), dtype)

    @property
    def boxes(self) -> Callable[[Box, NDArray[np.float32]], None] | None:
        """`box` where somebody hears of boxes, else None: whole rows cost less."""
        return None if self._tiles is None else self.box

    def rows(self, top: int, rows: NDArray[np.float32]) -> None:
        """Store canvas rows from `top` on; padding is cut away. Raises `EngineError` when they hold a NaN."""
        self.box(Box(top, 0, *rows.shape[1:]), rows)

    def box(self, box: Box, values: NDArray[np.float32]) -> None:
        """Store a box of the canvas, `[3, h, w]`, as `rows` does."""
        size = Size(min(box.height, self._size.height - box.top), min(box.width, self._size.width - box.left))
        if min(size) <= 0:
            return
        box = Box(box.top, box.left, *size)
        pixels = self._pixels(values[:, : box.height, : box.width])
        if self._given is not None and self._hole is not None:
            hole = self._hole[box.rows, box.columns, None]
            pixels = np.where(hole, pixels, self._given[box.rows, box.columns])
        self.image[box.rows, box.columns] = pixels
        if self._tiles is not None:
            part = self.image[box.rows, box.columns]
            part.flags.writeable = False
            self._tiles(box, part)

    def _pixels(self, values: NDArray[np.float32]) -> NDArray[Any]:
        try:
            return pixels_from_tensor(
                values,
                channels=self.image.shape[2],
                dtype=self.image.dtype,
                value_range=self._manifest.pixels.range,
                order=self._manifest.pixels.order,
                mode=self._manifest.quantize.mode,
            )
        except ValueError as error:
            raise EngineError(
                "result",
                found="NaN or infinity in the network's output",
                expected="finite pixels",
                mend="Run `lqhq parity` on this bundle; the checkpoint or its conversion is at fault.",
            ) from error
