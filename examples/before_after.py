"""Draw a before/after picture: left half bicubic, right half lqhq, and below it one detail of both, enlarged.

    python examples/before_after.py LQ HQ PICTURE [--detail TOP,LEFT]

LQ is the small image, HQ what lqhq made of it; HQ's sides must be the same whole multiple of LQ's.
The detail is the square where the two differ most, unless its corner is given.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

WIDTH = 1280  # of the picture, in pixels: fits a web page and a screen
DETAIL = 240  # side of the detail, in pixels of HQ: enlarged about 2.7 times, pixels can be seen
GAP = 4  # white line between the parts


def load(path: str) -> pyvips.Image:
    """The image upright, as 8-bit sRGB without alpha."""
    image = pyvips.Image.new_from_file(path).autorot().colourspace("srgb")
    image = image.flatten(background=[255, 255, 255]) if image.hasalpha() else image
    return image.cast("uchar").copy_memory()


def most_different(one: NDArray[np.uint8], other: NDArray[np.uint8], side: int) -> tuple[int, int]:
    """Top left corner of the square `side` in which two images `[H, W, C]` differ most, by squared error."""
    error = ((one.astype(np.float64) - other) ** 2).sum(axis=2)
    total = np.pad(error, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)  # over all above and to the left
    squares = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(int(squares.argmax()), squares.shape)
    return int(top), int(left)


def corner(text: str) -> tuple[int, int]:
    top, _, left = text.partition(",")
    if not (top.isdigit() and left.isdigit()):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected TOP,LEFT in pixels of HQ, like 340,520")
    return int(top), int(left)


def beside(left: pyvips.Image, right: pyvips.Image) -> pyvips.Image:
    return left.join(right, "horizontal", shim=GAP, background=[255, 255, 255])


def picture(lq: pyvips.Image, hq: pyvips.Image, detail: tuple[int, int] | None) -> pyvips.Image:
    """Both halves above, both details below, `WIDTH` pixels wide."""
    bicubic = lq.resize(hq.width / lq.width, kernel="cubic").copy_memory()
    half = hq.width // 2
    whole = beside(bicubic.crop(0, 0, half, hq.height), hq.crop(half, 0, hq.width - half, hq.height))
    side = min(DETAIL, half, hq.height // 2)
    top, left = detail or most_different(bicubic.numpy(), hq.numpy(), side)
    top, left = min(top, hq.height - side), min(left, hq.width - side)
    factor = (WIDTH - GAP) / 2 / side
    details = [image.crop(left, top, side, side).resize(factor, kernel="nearest") for image in (bicubic, hq)]
    above, below = whole.resize(WIDTH / whole.width), beside(*details)
    return above.join(below, "vertical", shim=GAP, background=[255, 255, 255])


def write(image: pyvips.Image, target: Path) -> None:
    """Under a temporary name beside the target, then renamed: no half-written picture stays."""
    unfinished = target.with_name(f".{os.getpid()}-{target.name}")  # same suffix: it names the format
    try:
        image.write_to_file(str(unfinished))
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a before/after picture: left bicubic, right lqhq.")
    parser.add_argument("lq", help="the small image")
    parser.add_argument("hq", help="what lqhq made of it")
    parser.add_argument("picture", help="the file to write (.png, .jpg, .webp)")
    parser.add_argument("--detail", type=corner, metavar="TOP,LEFT", help="corner of the detail, in pixels of HQ")
    asked = parser.parse_args()
    lq, hq = load(asked.lq), load(asked.hq)
    scale = hq.width // lq.width
    if scale < 1 or (hq.height, hq.width) != (lq.height * scale, lq.width * scale):
        sys.exit(f"{asked.hq}: found {hq.height} x {hq.width}; expected a multiple of {lq.height} x {lq.width}")
    write(picture(lq, hq, asked.detail), Path(asked.picture))
    print(asked.picture)


if __name__ == "__main__":
    main()
