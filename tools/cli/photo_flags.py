"""The flags that name photos to compare on, `--image` and `--mask`, for `lqhq export` and `lqhq parity`."""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import OptionError

if TYPE_CHECKING:
    from lqhq.export.validate import Photo

__all__ = ["add_photo_flags", "decibels", "named_photos"]

MOST_DECIBELS = 200.0  # between floats that differ by their own rounding there are 100 to 160


def add_photo_flags(parser: argparse._ActionsContainer, *, purpose: str) -> None:
    """`--image FILE` and `--mask FILE`, both repeatable; `purpose` completes the help of the first."""
    add = parser.add_argument
    add("--image", metavar="FILE", action="append", type=Path, default=[], help=purpose)
    add("--mask", metavar="FILE", action="append", type=Path, default=[], help="its hole, for bundles that take one")


def decibels(text: str) -> float:
    """A PSNR, for argparse. Raises `argparse.ArgumentTypeError`, which argparse prints."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST_DECIBELS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected decibels, 0 to {MOST_DECIBELS:g}")
    return value


def named_photos(args: argparse.Namespace) -> dict[str, Photo]:
    """The images by name, each with its mask where one was given. Raises `OptionError`, `ImageError`."""
    from lqhq.export.validate import Photo

    if len(args.mask) > len(args.image):
        raise OptionError(
            "--mask",
            found=f"{len(args.mask)} for {len(args.image)} images",
            expected="one for each --image, in their order",
            mend="Give --image as often as --mask.",
        )
    photos: dict[str, Photo] = {}
    for file, mask in itertools.zip_longest(args.image, args.mask):
        name = file.name if file.name not in photos else str(file)
        hole = None if mask is None else np.where((_rgb(mask) > 0).any(axis=2), np.uint8(255), np.uint8(0))
        photos[name] = Photo(_rgb(file), hole)
    return photos


def _rgb(file: Path) -> NDArray[np.uint8]:
    """An image file as `[H, W, 3]` uint8; alpha is left out, grey is repeated, 16 bits are cut to 8."""
    from lqhq.runtime.image_file import read_image

    pixels: NDArray[Any] = read_image(file).pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    colour = pixels[:, :, : 1 if pixels.shape[2] < 3 else 3]
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))
