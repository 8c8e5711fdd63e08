"""The photos that half precision is checked on when nobody gives any, and images at the edges of what there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.image_file import read_image

__all__ = ["default_photos", "extreme_images"]

FOLDER = Path(__file__).with_name("photos")  # its LICENCE.md says whose they are
NAMES = ("cat.png", "rocket.png", "seeds.png")  # fur and an eye; a dark plain sky; highlights


def default_photos() -> dict[str, NDArray[np.uint8]]:
    """Cuttings of real photos by file name, `[128, 128, 3]`."""
    return {name: read_image(FOLDER / name).pixels.astype(np.uint8) for name in NAMES}


def extreme_images(height: int, width: int) -> dict[str, NDArray[np.uint8]]:
    """All black, all white, saturated colours, and black and white pixels side by side; `[height, width, 3]`."""
    y, x = np.mgrid[:height, :width]
    colours = np.stack([(x // 4) % 2, (y // 4) % 2, (x + y) // 4 % 2], axis=-1)
    board = np.repeat(((x + y) % 2)[..., None], 3, axis=2)
    flat = {"black": np.zeros_like(board), "white": np.ones_like(board)}
    return {
        name: (255 * image).astype(np.uint8) for name, image in {**flat, "saturated": colours, "board": board}.items()
    }
