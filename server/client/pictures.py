"""What a caller gives as an image, into the bytes of a file; and files' bytes into arrays.

The image codec is imported only where an array comes or goes: bytes and paths need none.
"""

from __future__ import annotations

import os
import stat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import ImageError

__all__ = ["Picture", "array_of", "file_bytes"]

Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[Any]
MAX_PIXELS = 2**31 - 1  # of a result as an array: the caller asked for it, so only nonsense is refused


def file_bytes(picture: Picture, name: str) -> bytes:
    """The bytes of an image file: a path's content, bytes as they are, or an array `[H, W, C]` as PNG.

    Arrays are uint8 or uint16, and a mask may be `[H, W]`, of bools too (True: the hole). Raises `ImageError` for a
    file that cannot be read, for an empty one, and for an array that no PNG holds; `name` is "image" or "mask".
    """
    if isinstance(picture, np.ndarray):
        return _encoded(picture, name)
    if isinstance(picture, bytes | bytearray | memoryview):
        data, where = bytes(picture), name
    else:
        data, where = _read(picture), os.fspath(picture)
    if not data:
        raise ImageError(
            where, found="nothing", expected="a PNG, JPEG, WebP or TIFF file", mend="Look at where it comes from."
        )
    return data


def array_of(data: bytes, name: str = "result") -> NDArray[Any]:
    """Decode a PNG, JPEG, WebP or TIFF file: `[H, W, C]` uint8 or uint16, upright. Raises `ImageError`."""
    from lqhq.runtime.image_file import read_image_bytes

    return read_image_bytes(data, name=name, max_pixels=MAX_PIXELS).pixels


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        # A pipe without a writer would keep us waiting for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read()
            found = "a pipe or a device"
    except OSError as error:
        found = error.strerror or str(error)
    raise ImageError(os.fspath(path), found=found, expected="a readable file", mend="Check the path and its rights.")


def _encoded(array: NDArray[Any], name: str) -> bytes:
    from lqhq.runtime.image_file import ImageFile
    from lqhq.runtime.image_write import encode_image

    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype not in (np.uint8, np.uint16) or array.ndim != 3 or not 1 <= array.shape[2] <= 4 or not array.size:
        raise ImageError(
            name,
            found=f"{array.dtype} {array.shape}",
            expected="uint8 or uint16 [H, W, C] with 1 to 4 channels and no empty side",
            mend="Scale floats in [0, 1] first: (image * 65535).round().astype(numpy.uint16).",
        )
    return encode_image("PNG", ImageFile(pixels=array), quality=95)
