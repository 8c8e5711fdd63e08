"""What the result is to be, told before the work, and made after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.image_write import Kind, check_kind, encode_image
from lqhq.server.restoring.ask import Form, Picture
from lqhq.server.restoring.bit_depth import in_depth
from lqhq.server.v2.options import Delivery, Format

__all__ = ["check_delivery", "delivered", "form_told", "result_dtype", "worked_dtype"]

KINDS: Mapping[Format, Kind] = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "tiff": "TIFF"}
EIGHT_BIT = ("jpeg", "webp")
UINT8, UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)


def result_dtype(given: np.dtype[Any], delivery: Delivery) -> np.dtype[Any]:
    """The type of the result of an image of type `given`. Floats become the deepest integers that a file's kind has."""
    if delivery.bit_depth is not None:
        return UINT8 if delivery.bit_depth == 8 else UINT16
    if given == np.float32 and delivery.format != "tensor":
        return UINT8 if delivery.format in EIGHT_BIT else UINT16
    return given


def worked_dtype(given: np.dtype[Any], result: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which an image is restored: never less than it has, and 16 bits where such a result is asked for."""
    return UINT16 if (given, result) == (UINT8, UINT16) else given


def check_delivery(delivery: Delivery, form: ImageForm, icc: bytes | None = None) -> None:
    """Raise `ImageError` or `LimitError` where no file of that kind holds a result of `form` and profile."""
    if delivery.format != "tensor":
        check_kind(KINDS[delivery.format], form, icc=icc)


def delivered(result: NDArray[Any], dtype: np.dtype[Any], file: ImageFile | None, delivery: Delivery) -> Picture:
    """`result` `[H, W, C]` as pixels of `dtype`, or as a file with what the `file` that came had beside its pixels.

    Raises as `encode_image`.
    """
    pixels = in_depth(result, dtype)
    if delivery.format == "tensor":
        return pixels
    image = ImageFile(pixels=pixels) if file is None else replace(file, pixels=pixels)
    return encode_image(KINDS[delivery.format], image, quality=delivery.quality)


def form_told(form: ImageForm) -> Form:
    """`form` as callers hear of it."""
    return Form(form.height, form.width, form.channels, 8 * form.dtype.itemsize)
