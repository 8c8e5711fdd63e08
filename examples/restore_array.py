"""Restore a NumPy array with the bundle that ships in the package.

    python examples/restore_array.py

An image is `[H, W, C]`, uint8, uint16 or float32 (0 to 1). The result has the same type; here, x4 the sides.
"""

from __future__ import annotations

import numpy as np

from lqhq.runtime import OptionError, Restorer


def drawing(height: int, width: int) -> np.ndarray:
    """A bright disc on a dark ramp, uint8 `[H, W, 3]`: something with an edge, so that no file is needed."""
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(y - height / 2, x - width / 2) < height / 3
    grey = np.where(disc, 220, 40 + 60 * x / width)
    return np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)


def main() -> None:
    lq = drawing(72, 96)
    with Restorer.open("demo", device="cpu") as restorer:
        print("tiles:", restorer.plan(lq).describe())
        hq = restorer.restore(lq, seed=0)
        print(f"{lq.shape} {lq.dtype} -> {hq.shape} {hq.dtype}")

        again = restorer.restore(lq, seed=0)
        print("same seed, same bytes:", np.array_equal(hq, again))

        try:
            restorer.restore(lq, schedule="no-such-schedule")
        except OptionError as error:
            print("an error says what to do:", error)


if __name__ == "__main__":
    main()
