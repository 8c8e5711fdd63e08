"""Where a Job's noise comes from: the counter-based field, or arrays that a caller injects for parity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.noise import STREAMS, normal
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Box, Size

__all__ = ["NoiseField"]

Array = NDArray[np.float32]


class NoiseField:
    """Standard normals of any box of the canvas. `injected` has `start` `[C, H, W]` and `step` `[rows, C, H, W]`.

    Injected arrays have the prepared image's size; beyond it (padding) they are zero.
    """

    def __init__(
        self, *, seed: int, channels: int, size: Size, rows: int, injected: Mapping[str, Array] | None
    ) -> None:
        if not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
            raise OptionError(
                "seed",
                found=repr(seed),
                expected="a whole number, 0 to 2^64 - 1",
                mend="Give a seed inside this range.",
            )
        self._seed, self._channels = int(seed), channels
        self._injected = injected
        shapes = {"start": (channels, *size), "step": (rows, channels, *size)}
        for name, array in (injected or {}).items():
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            if name not in STREAMS or found != f"float32 {shapes[name]}" or not np.isfinite(array).all():
                raise OptionError(
                    f"noise[{name!r}]",
                    found=found,
                    expected=f"finite float32 arrays of these shapes: {shapes}",
                    mend="Give standard normal noise of the prepared image's size.",
                )

    def start(self, box: Box) -> Array:
        """`[C, h, w]` for the start of the schedule."""
        return self._draw("start", 0, box)

    def step(self, row: int, box: Box) -> Array:
        """`[C, h, w]` for row `row`."""
        return self._draw("step", row, box)

    def _draw(self, stream: str, row: int, box: Box) -> Array:
        if self._injected is None:
            top, left, height, width = box
            return normal(
                seed=self._seed,
                stream=stream,
                row=row,
                channels=self._channels,
                top=top,
                left=left,
                height=height,
                width=width,
            )
        if stream not in self._injected:
            raise OptionError(
                "noise",
                found=f"streams {sorted(self._injected)}",
                expected=f"also {stream!r}, which this schedule draws",
                mend="Inject every stream of the schedule, or none.",
            )
        source = self._injected[stream] if stream == "start" else self._injected[stream][row]
        part = source[:, box.rows, box.columns]
        out = np.zeros((self._channels, box.height, box.width), np.float32)
        out[:, : part.shape[1], : part.shape[2]] = part
        return out
