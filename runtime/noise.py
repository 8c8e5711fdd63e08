"""Where a Job's noise comes from: the counter-based field, or arrays that a caller injects for parity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.noise import normal
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Box, Size

__all__ = ["NoiseField", "row_shapes"]

Array = NDArray[np.float32]


def row_shapes(channels: int, size: Size, rows: int) -> dict[str, tuple[int, ...]]:
    """The streams of a schedule of so many rows over an image of `size`."""
    return {"start": (channels, *size), "step": (rows, channels, *size)}


class NoiseField:
    """Standard normals of any box of the canvas, and of vectors that belong to the whole image.

    `shapes` says which streams there are and what an `injected` array must be: `start` `[C, H, W]` and `step`
    `[rows, C, H, W]` of the prepared image's size (beyond it, in the padding, they are zero), `prior` `[Z]`, and
    `posterior` `[C, H, W]`, which is zero unless it is injected: the mean of what `encode` gives.
    """

    def __init__(
        self, *, seed: int, shapes: Mapping[str, tuple[int, ...]], injected: Mapping[str, Array] | None
    ) -> None:
        if not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
            raise OptionError(
                "seed",
                found=repr(seed),
                expected="a whole number, 0 to 2^64 - 1",
                mend="Give a seed inside this range.",
            )
        self._seed, self._shapes = int(seed), shapes
        self._injected = injected
        for name, array in (injected or {}).items():
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            if name not in shapes or found != f"float32 {shapes[name]}" or not np.isfinite(array).all():
                raise OptionError(
                    f"noise[{name!r}]",
                    found=found,
                    expected=f"finite float32 arrays of these shapes: {dict(shapes)}",
                    mend="Give standard normal noise; images of it have the prepared image's size.",
                )

    def start(self, box: Box) -> Array:
        """`[C, h, w]` for the start of the schedule."""
        return self._draw("start", 0, box)

    def step(self, row: int, box: Box) -> Array:
        """`[C, h, w]` for row `row`."""
        return self._draw("step", row, box)

    def prior(self) -> Array:
        """`[Z]` for the vector that guides the restoration; one for the image, whatever its tiles."""
        if self._injected is None:
            (width,) = self._shapes["prior"]
            vector: Array = self._normal("prior", 0, 1, Box(0, 0, 1, width))[0, 0]
            return vector
        return self._given("prior")

    def posterior(self, box: Box) -> Array:
        """`[C, h, w]` for the role `encode`."""
        if self._injected is None or "posterior" not in self._injected:
            return np.zeros((self._shapes["posterior"][0], *box.size), np.float32)
        return self._injected["posterior"][:, box.rows, box.columns]

    def _draw(self, stream: str, row: int, box: Box) -> Array:
        channels = self._shapes[stream][0 if stream == "start" else 1]
        if self._injected is None:
            return self._normal(stream, row, channels, box)
        source = self._given(stream) if stream == "start" else self._given(stream)[row]
        part = source[:, box.rows, box.columns]
        out = np.zeros((channels, box.height, box.width), np.float32)
        out[:, : part.shape[1], : part.shape[2]] = part
        return out

    def _normal(self, stream: str, row: int, channels: int, box: Box) -> Array:
        return normal(seed=self._seed, stream=stream, row=row, channels=channels, **box._asdict())

    def _given(self, stream: str) -> Array:
        if self._injected is None or stream not in self._injected:
            raise OptionError(
                "noise",
                found=f"streams {sorted(self._injected or ())}",
                expected=f"also {stream!r}, which is drawn here",
                mend="Inject every stream that is drawn, or none.",
            )
        return self._injected[stream]
