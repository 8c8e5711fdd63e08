"""What came as an image or a mask: its form, told before it is decoded, and its pixels."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from lqhq.runtime.errors import ImageError, LimitError
from lqhq.runtime.geometry import Size
from lqhq.runtime.image_array import check_image
from lqhq.runtime.image_file import ImageFile, image_form, read_image_bytes
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.mask_files import read_mask_bytes
from lqhq.server.restoring.ask import Picture

__all__ = ["check_mask", "picture_bytes", "picture_form", "read_hole", "read_picture"]


def picture_form(picture: Picture, max_pixels: int) -> ImageForm:
    """The form of an image, from its header where it is a file. Raises `ImageError`, `LimitError`."""
    if isinstance(picture, bytes):
        return image_form(picture, name="image", max_pixels=max_pixels)
    # One pixel shows type and channels; all values are looked at when there is room for it.
    check_image(picture[:1, :1] if picture.ndim == 3 else picture)
    form = ImageForm.of(picture)
    _check_pixels("image", form.height, form.width, max_pixels)
    return form


def check_mask(mask: Picture, size: Size, max_pixels: int) -> int:
    """Raise `ImageError` or `LimitError` for a mask that cannot be one; the bytes that reading it takes."""
    if isinstance(mask, bytes):
        form = image_form(mask, name="mask", max_pixels=max_pixels)
        return len(mask) + form.nbytes + form.height * form.width
    height, width = mask.shape[:2] if mask.ndim >= 2 else (1, mask.size)
    _check_pixels("mask", height, width, max_pixels)
    if mask.shape not in (size, (*size, 1)):
        raise ImageError(
            "mask",
            found=f"shape {list(mask.shape)}",
            expected=f"{list(size)}, the size of the image",
            mend="Give one grey value for each pixel of the image.",
        )
    return mask.nbytes + mask.size


def read_picture(picture: Picture, max_pixels: int) -> tuple[NDArray[Any], ImageFile | None]:
    """Pixels `[H, W, C]`, and the file that they were in. Raises `ImageError`, `LimitError`."""
    if not isinstance(picture, bytes):
        return picture, None
    file = read_image_bytes(picture, name="image", max_pixels=max_pixels)
    return file.pixels, file


def read_hole(mask: Picture | None, size: Size, max_pixels: int) -> NDArray[Any] | None:
    """The mask as `Restorer.restore` takes it. Raises `ImageError`, `LimitError`."""
    if isinstance(mask, bytes):
        return read_mask_bytes(mask, size, name="mask", max_pixels=max_pixels)
    return mask


def picture_bytes(picture: Picture) -> int:
    """What it takes as it came."""
    return len(picture) if isinstance(picture, bytes) else picture.nbytes


def _check_pixels(name: str, height: int, width: int, most: int) -> None:
    if height * width > most:
        raise LimitError(
            name,
            found=f"{width} x {height} pixels",
            expected=f"at most {most} pixels",
            mend="Reduce it or cut it into parts.",
        )
