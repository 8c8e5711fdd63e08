"""Where finished rows go: cut from the canvas, turned into pixels, stored in the result."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels import pixels_from_tensor
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Size
from lqhq.runtime.manifest import Manifest

__all__ = ["ImageSink"]


class ImageSink:
    """Collects rows `[3, n, W]` in the network's range into `image` `[H, W, channels]` of `dtype`.

    Outside a `hole` `[H, W]` (bool) the pixels of `given`, an image like the result, are kept as they are.
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
    ) -> None:
        self._size, self._manifest = size, manifest
        self._given, self._hole = given, hole
        self.image: NDArray[Any] = np.empty((*size, channels), dtype)

    def rows(self, top: int, rows: NDArray[np.float32]) -> None:
        """Store canvas rows from `top` on; padding is cut away. Raises `EngineError` when they hold a NaN."""
        kept = rows[:, : max(0, self._size.height - top), : self._size.width]
        if not kept.size:
            return
        try:
            pixels = pixels_from_tensor(
                kept,
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
        part = slice(top, top + kept.shape[1])
        if self._given is not None and self._hole is not None:
            pixels = np.where(self._hole[part, :, None], pixels, self._given[part])
        self.image[part] = pixels
