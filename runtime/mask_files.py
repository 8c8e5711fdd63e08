"""Mask files: which belongs to which image, and how one is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.alpha import constant_value, split_alpha
from lqhq.runtime.errors import ImageError, OptionError
from lqhq.runtime.file_plan import FilePair
from lqhq.runtime.image_file import read_image

__all__ = ["plan_masks", "read_mask"]


def plan_masks(pairs: Sequence[FilePair], mask: str, suffixes: Sequence[str]) -> dict[Path, Path]:
    """The mask of each source: `mask` for all where it is a file, or the file of the source's name in that folder.

    In a folder the suffix may differ, and subfolders are those of the sources below their common folder. Raises
    `OptionError` for a source without a mask or with several, and for a result that would replace a mask.
    """
    if os.path.isdir(mask):
        top = os.path.commonpath([os.path.abspath(pair.source.parent) for pair in pairs])
        masks = {pair.source: _named_like(pair.source, Path(mask), Path(top), suffixes) for pair in pairs}
    else:
        masks = {pair.source: Path(mask) for pair in pairs}
    read = {os.path.realpath(path) for path in masks.values()}
    for pair in pairs:
        if os.path.realpath(pair.target) in read:
            raise OptionError(
                str(pair.target),
                found="an output that is a mask",
                expected="another file",
                mend="Give another -o; lqhq does not write over what it reads.",
            )
    return masks


def _named_like(source: Path, folder: Path, top: Path, suffixes: Sequence[str]) -> Path:
    place = folder / Path(os.path.abspath(source.parent)).relative_to(top)
    files = sorted(place.iterdir()) if os.path.isdir(place) else []
    found = [path for path in files if path.stem == source.stem and path.suffix.lower() in suffixes]
    if len(found) != 1:
        raise OptionError(
            "--mask",
            found=f"{len(found) or 'no'} file{'s' * (len(found) != 1)} for {source} in {place}",
            expected=f"one, named {source.stem} and any of {', '.join(suffixes)}",
            mend="Add or remove masks, or give one file that is for all images.",
        )
    return found[0]


def read_mask(path: Path) -> NDArray[np.bool_]:
    """The hole `[H, W]` in a mask file: every pixel that is not black. Raises `ImageError`."""
    pixels: NDArray[Any] = read_image(path).pixels
    colour, alpha = split_alpha(pixels)
    if alpha is not None and constant_value(alpha) is None:
        raise ImageError(
            str(path),
            found="a mask with transparent parts",
            expected="black where the image is to be kept, anything else inside the hole",
            mend="Save the mask as a grey image without an alpha channel.",
        )
    hole: NDArray[np.bool_] = np.any(colour > 0, axis=2)
    return hole
