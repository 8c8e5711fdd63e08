"""Image files into arrays: PNG, JPEG, WebP and TIFF, 8 and 16 bit, with what else they carry.

They come by path or as bytes; of bytes the header may be read alone. Writing is in `image_write.py`. The content of a
file decides what it is, never its name; every other format that the codec library knows is out of reach, since each
would be one more parser open to hostile files.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyvips
from numpy.typing import NDArray

from lqhq.runtime.errors import ImageError
from lqhq.runtime.exif import PHOTOMETRIC, TagError, Tags, dpi, exif_bytes, read_tags
from lqhq.runtime.image_check import check_header, wrong_colours
from lqhq.runtime.image_form import ImageForm

__all__ = ["MAX_PIXELS", "SUFFIXES", "ImageFile", "image_form", "read_image", "read_image_bytes"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
MAX_PIXELS = 16384 * 16384  # 768 MiB as 8-bit RGB; a few kilobytes of PNG can claim a thousand times as much
MOST_CHUNKS = 10_000  # of a PNG before its pixels; honest files have some tens, empty chunks cost their sender 12 bytes
MM_PER_INCH = 25.4

# The codec remembers results by argument; a file that changed under its name must be read again.
pyvips.cache_set_max(0)

LOADERS = {
    "PNG": "pngload_source",
    "JPEG": "jpegload_source",
    "WebP": "webpload_source",
    "TIFF": "tiffload_source",
}
CIELAB = (b"\x08\0", b"\x09\0", b"\x0a\0")  # of PHOTOMETRIC: CIELab, ICCLab, ITULab
TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """What a file holds. Pixels are upright; alpha is straight, not premultiplied.

    `pixels`: `[H, W, C]` uint8 or uint16, C: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; full range.
    `icc`: the profile's bytes. `exif`: a TIFF-structured block without the `Exif` prefix, orientation 1, no
    thumbnail. `xmp`: the packet. `dpi`: (horizontal, vertical) pixels per inch. None where the file has none.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Decode the file at `path`, with its EXIF orientation applied.

    Grey stays grey, a palette becomes RGB, 1, 2 and 4 bit become 8. A damaged EXIF block is dropped, the rest
    kept; of a JPEG with several pictures (MPO) the first is read.

    Raises `ImageError` for a missing, empty, unknown, truncated, CMYK, animated, many-paged or float file,
    and `LimitError`, before anything is decoded, for more than `max_pixels` pixels.
    """
    name = os.fspath(path)
    try:
        with _told(name), open(path, "rb", opener=_open_at_once) as file:
            _check_regular(name, file)
            return _decoded(_header(name, file, partial(_from_file, file), max_pixels))
    except OSError as error:
        raise ImageError(
            name,
            found=error.strerror or str(error),
            expected="a readable file",
            mend="Check the path and its rights.",
        ) from error


def read_image_bytes(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Decode `data`, the content of a file, as `read_image` does; `name` is what errors call it. Nothing is copied."""
    with _told(name):
        return _decoded(_header(name, io.BytesIO(data), partial(pyvips.Source.new_from_memory, data), max_pixels))


def image_form(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> ImageForm:
    """What `read_image_bytes(...).pixels` would be, told from the header alone: no pixel is decoded.

    Raises what `read_image_bytes` raises, but for what only the pixels show, such as a file that breaks off.
    """
    with _told(name):
        found = _header(name, io.BytesIO(data), partial(pyvips.Source.new_from_memory, data), max_pixels)
        image, turned = found.image, found.orientation in TRANSPOSED
        height, width = (image.width, image.height) if turned else (image.height, image.width)
        return ImageForm(height, width, image.bands, _dtype(image))


@contextmanager
def _told(name: str) -> Iterator[None]:
    """The codec's errors as ours."""
    try:
        yield
    except pyvips.Error as error:
        detail = next((line.strip() for line in str(error.detail).splitlines() if line.strip()), "no data")
        raise ImageError(
            name,
            found=f"a file that breaks off or is damaged ({detail})",
            expected="a whole PNG, JPEG, WebP or TIFF file",
            mend="Copy or download the file again.",
        ) from error


def _open_at_once(path: str, flags: int) -> int:
    """A pipe without a writer would keep us waiting for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_regular(name: str, file: BinaryIO) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise ImageError(
            name,
            found="a pipe or a device",
            expected="a file that can be read more than once",
            mend="Write its content to a file first.",
        )


class _Header(NamedTuple):
    """What a file says before its pixels. `source()` is the file once more, from its beginning."""

    kind: str
    source: Callable[[], Any]
    image: Any
    tags: Tags

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1..8; other numbers may come."""
        return int(_field(self.image, "orientation") or 1)


def _header(name: str, file: BinaryIO, source: Callable[[], Any], max_pixels: int) -> _Header:
    """The checked header of `file`, which `source()` gives to the codec."""
    head = file.read(16)
    kind = _kind(head)
    if kind is None:
        raise ImageError(
            name,
            found=f"content that begins with {head[:8]!r}" if head else "an empty file",
            expected="a PNG, JPEG, WebP or TIFF file",
            mend="Convert the image to one of these first.",
        )
    tags = _tags(file) if kind == "TIFF" else {}
    if PHOTOMETRIC in tags and tags[PHOTOMETRIC].data in CIELAB:
        raise wrong_colours(name, "L*a*b* colours")
    apng = _png_frames(name, file) if kind == "PNG" else 1
    image = _open(kind, source())
    frames = max(apng, _field(image, "n-pages") or 1)
    check_header(name, image, frames, max_pixels)
    return _Header(kind, source, image, tags)


def _decoded(header: _Header) -> ImageFile:
    kind, source, image, tags = header
    if kind == "TIFF":
        # The codec's own limit, 50 MB a strip, refuses honest files of one strip; ours has just been checked.
        image = _open(kind, source(), unlimited=True)
    block = _field(image, "exif-data")
    if block is not None:
        tags = _tags(io.BytesIO(block.removeprefix(b"Exif\0\0")))
    pixels = np.frombuffer(image.write_to_memory(), _dtype(image)).reshape(image.height, image.width, image.bands)
    orientation = header.orientation
    resolution = _dpi(kind, image, tags)
    return ImageFile(
        pixels=_upright(pixels, orientation),
        icc=_field(image, "icc-profile-data"),
        exif=_exif(tags),
        xmp=_upright_xmp(_field(image, "xmp-data")),
        dpi=resolution[::-1] if resolution and orientation in TRANSPOSED else resolution,
    )


def _from_file(file: BinaryIO) -> Any:
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # the codec reads the descriptor, behind the buffer of `file`
    return pyvips.Source.new_from_descriptor(file.fileno())


def _open(kind: str, source: Any, **options: bool) -> Any:
    """The header, as a lazy image. Its pixels are decoded while they are asked for, top to bottom."""
    # "error", not "truncated": only then is a TIFF without compression that breaks off refused (tried).
    return getattr(pyvips.Image, LOADERS[kind])(source, access="sequential", fail_on="error", **options)


def _dtype(image: Any) -> np.dtype[Any]:
    return np.dtype(np.uint8 if image.format == "uchar" else np.uint16)


def _kind(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    return None


def _field(image: Any, field: str) -> Any:
    return image.get(field) if image.get_typeof(field) else None


def _dpi(kind: str, image: Any, tags: Tags) -> tuple[float, float] | None:
    if kind == "WebP":
        return dpi(tags)  # the library reads no resolution from WebP
    # It says pixels per mm, and makes up 72 dpi (PNG, JPEG) or 1 per mm (TIFF) where the file is silent.
    stated = (image.xres, image.yres)
    made_up = {"PNG": 2.834, "JPEG": 72 / MM_PER_INCH, "TIFF": 1.0}[kind]
    if stated == (made_up, made_up) and _field(image, "resolution-unit") is None:
        return None
    return stated[0] * MM_PER_INCH, stated[1] * MM_PER_INCH


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation 1..8 (EXIF 2.3, table 6); an unknown number changes nothing."""
    if orientation in TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _upright_xmp(xmp: bytes | None) -> bytes | None:
    """XMP may repeat the orientation, which has been applied."""
    return xmp and re.sub(rb"""(tiff:Orientation(?:=["']|>))[2-8]""", rb"\g<1>1", xmp)


def _exif(tags: Tags) -> bytes | None:
    exif = exif_bytes(tags)
    # A TIFF without one descriptive tag has no EXIF; what is left then is our orientation alone.
    return exif if len(exif) > len(exif_bytes({})) else None


def _tags(block: BinaryIO) -> Tags:
    """None of them where the block is damaged: of a TIFF the decoder says what is wrong, an EXIF is dropped."""
    try:
        return read_tags(block)
    except TagError:
        return {}


def _png_frames(name: str, file: BinaryIO) -> int:
    """Frames of an animated PNG: the `acTL` chunk (PNG third edition, 11.3.5) comes before the first `IDAT`."""
    file.seek(8)
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            return 1
        if head[4:] == b"acTL":
            return int.from_bytes(file.read(4), "big")
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    raise ImageError(
        name,
        found=f"a PNG with more than {MOST_CHUNKS} chunks before its pixels",
        expected="a few tens of them",
        mend="Write the image again, without its metadata.",
    )
