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
from lqhq.runtime.geometry import Size
from lqhq.runtime.image_file import MAX_PIXELS, image_form, read_image, read_image_bytes

__all__ = ["plan_masks", "read_mask", "read_mask_bytes"]


def plan_masks(pairs: Sequence[FilePair], mask: str, suffixes: Sequence[str]) -> dict[Path, Path]:
    """The mask of each source: `mask` for all where it is a file, or the file of the source's name in that folder.

    In a folder the suffix may differ; subfolders are those of the sources below the folder that was searched for them.
    Raises `OptionError` for a mask that is neither, for a source without a mask or with several, for one that is its
    own mask, and for a result that would replace a mask.
    """
    if os.path.isdir(mask):
        masks = _named_like(pairs, Path(mask), suffixes)
    elif os.path.isfile(mask):
        masks = {pair.source: Path(mask) for pair in pairs}
    else:
        raise OptionError(
            "--mask",
            found=f"{mask!r}, which is {'no regular file' if os.path.exists(mask) else 'not there'}",
            expected="an image file, or a folder of them",
            mend="Check the path; a variable of your script may be empty.",
        )
    read = {os.path.realpath(path) for path in masks.values()}
    for source, target, _ in pairs:
        if os.path.realpath(source) == os.path.realpath(masks[source]):
            raise OptionError(
                "--mask",
                found=f"{source}, the image itself",
                expected="another file that shows what to fill",
                mend="Give a grey image of the same size, black where the image is to be kept.",
            )
        if os.path.realpath(target) in read:
            raise OptionError(
                str(target),
                found="an output that is a mask",
                expected="another file",
                mend="Give another -o; lqhq does not write over what it reads.",
            )
    return masks


def _named_like(pairs: Sequence[FilePair], folder: Path, suffixes: Sequence[str]) -> dict[Path, Path]:
    """The one file in `folder` at each source's place and of its name, whatever the suffix."""
    listed: dict[Path, dict[str, list[Path]]] = {}  # by place and stem: a folder is read once
    masks = {}
    for source, _, relative in pairs:
        place = folder / relative.parent
        if place not in listed:
            listed[place] = _by_stem(place, suffixes)
        found = listed[place].get(source.stem, [])
        if len(found) != 1:
            raise OptionError(
                "--mask",
                found=f"{len(found) or 'no'} file{'s' * (len(found) != 1)} for {source} in {place}",
                expected=f"one, named {source.stem} and any of {', '.join(suffixes)}",
                mend="Add or remove masks, or give one file that is for all images.",
            )
        masks[source] = found[0]
    return masks


def _by_stem(place: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    try:
        names = sorted(os.listdir(place)) if os.path.isdir(place) else []
    except OSError as error:
        raise OptionError(
            "--mask",
            found=f"{place}: {error.strerror or error}",
            expected="a folder that can be read",
            mend="Check its permissions.",
        ) from error
    for path in map(place.joinpath, names):
        if path.suffix.lower() in suffixes and os.path.isfile(path):
            found.setdefault(path.stem, []).append(path)
    return found


def read_mask(path: Path, size: Size) -> NDArray[np.bool_]:
    """The hole `[H, W]` in a mask file: every pixel that is not black. Raises `ImageError`, also for another `size`."""
    return _hole(read_image(path).pixels, size, str(path))


def read_mask_bytes(data: bytes, size: Size, *, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """`read_mask` of `data`, the content of a file; `name` is what errors call it.

    A mask of another size is refused before it is decoded, more than `max_pixels` pixels with `LimitError`.
    """
    form = image_form(data, name=name, max_pixels=max_pixels)
    _check_size((form.height, form.width), size, name)
    return _hole(read_image_bytes(data, name=name, max_pixels=max_pixels).pixels, size, name)


def _check_size(found: tuple[int, ...], size: Size, name: str) -> None:
    if found != size:
        raise ImageError(
            name,
            found=f"a mask of {found[1]}x{found[0]}",
            expected=f"{size.width}x{size.height}, the size of the image",
            mend="Give one grey value for each pixel; both are turned upright first, as their EXIF says.",
        )


def _hole(pixels: NDArray[Any], size: Size, name: str) -> NDArray[np.bool_]:
    _check_size(pixels.shape[:2], size, name)
    colour, alpha = split_alpha(pixels)
    if alpha is not None and constant_value(alpha) is None:
        raise ImageError(
            name,
            found="a mask with transparent parts",
            expected="black where the image is to be kept, anything else inside the hole",
            mend="Save the mask as a grey image without an alpha channel.",
        )
    hole: NDArray[np.bool_] = np.any(colour > 0, axis=2)
    return hole
