"""Arrays into image files: PNG, JPEG, WebP, TIFF, the same bytes every time; on disk whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pyvips

from lqhq.runtime.errors import ImageError, LimitError, OptionError
from lqhq.runtime.exif import TagError, add_exif, exif_bytes
from lqhq.runtime.image_file import MM_PER_INCH, SUFFIXES, ImageFile
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.whole_file import cannot_write, whole_file

__all__ = ["Kind", "check_fits", "check_kind", "check_target", "encode_image", "write_image"]

Kind = Literal["PNG", "JPEG", "WebP", "TIFF"]
KINDS: dict[str, Kind] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
LONGEST_SIDE = {"JPEG": 65500, "WebP": 16383}  # of the formats' libraries
LOSSLESS = "Write .png or .tif instead."
USUAL_DPI = 72.0  # what readers assume of a file that states none; the library cannot leave it out
KEEP_ALL = int(pyvips.enums.ForeignKeep.ALL)
KEEP_EXIF = int(pyvips.enums.ForeignKeep.EXIF)


def write_image(path: str | os.PathLike[str], image: ImageFile, *, quality: int = 95) -> None:
    """Encode `image` to `path`, in the format of its suffix; an existing file is replaced at the very end.

    `quality` 1..100 is for JPEG (full colour resolution from 90 on) and WebP; PNG and TIFF are lossless.
    Profile, EXIF, XMP and DPI are kept, with these gaps: WebP has no grey (it comes back as RGB); an EXIF above
    64 KB fits only TIFF, an XMP above 50 KB not into JPEG; a TIFF above 4 GB gets no EXIF.

    Raises `ImageError` for another suffix, 16 bit or alpha where the format has none, or a failed write;
    `LimitError` for a side too long for the format; `OptionError` for a quality out of range.
    """
    target = Path(path)
    _check_quality(quality)
    check_fits(target, image)
    try:
        with whole_file(target) as file:
            _save(file, check_target(target), image, quality)
    except OSError as error:
        raise cannot_write(target, error.strerror or str(error)) from error
    except pyvips.Error as error:
        raise cannot_write(target, " ".join(str(error).split())) from error
    except TagError as error:
        raise _damaged_exif(str(target), error) from error


def encode_image(kind: Kind, image: ImageFile, *, quality: int = 95) -> bytes:
    """The bytes that `write_image` would write to a file of that kind. Raises as it does, of "result"."""
    _check_quality(quality)
    check_kind(kind, ImageForm.of(image.pixels), icc=image.icc)
    try:
        # The codec writes to a descriptor, and a TIFF's EXIF is put into the finished file.
        with open(os.memfd_create("lqhq-image"), "w+b") as file:
            _save(file, kind, image, quality)
            file.seek(0)
            return file.read()
    except (OSError, pyvips.Error) as error:
        raise ImageError(
            "result",
            found=" ".join(str(error).split()),
            expected=f"to encode it as {kind} in memory",
            mend="Free memory, or ask for a smaller result.",
        ) from error
    except TagError as error:
        raise _damaged_exif("result", error) from error


def _check_quality(quality: int) -> None:
    if not 1 <= quality <= 100:
        raise OptionError("quality", found=str(quality), expected="1 to 100", mend="95 is hard to tell from lossless.")


def _damaged_exif(name: str, error: TagError) -> ImageError:
    return ImageError(
        name,
        found=f"a damaged EXIF block ({error})",
        expected="EXIF as `read_image` gives it",
        mend="Set exif to None to write the image without.",
    )


def _save(file: BinaryIO, kind: Kind, image: ImageFile, quality: int) -> None:
    """Encode `image` into the empty `file`."""
    vips = _to_vips(image, kind)
    # Where there is no EXIF, the library would make one up.
    keep = KEEP_ALL if vips.get_typeof("exif-data") else KEEP_ALL - KEEP_EXIF
    SAVERS[kind](vips, file, quality, keep)
    if kind == "TIFF" and image.exif is not None and not _is_big(vips):
        add_exif(file, image.exif, vips.width, vips.height)
    file.flush()


def check_target(path: str | os.PathLike[str]) -> Kind:
    """The format that `path` asks for: PNG, JPEG, WebP or TIFF. Raises `ImageError` for any other suffix."""
    target = Path(path)
    kind = KINDS.get(target.suffix.lower())
    if kind is None:
        raise ImageError(
            str(target),
            found=f"suffix {target.suffix!r}",
            expected=", ".join(SUFFIXES),
            mend="Name the output with one of these suffixes.",
        )
    return kind


def check_fits(path: str | os.PathLike[str], image: ImageFile, *, scale: int = 1) -> None:
    """Raise what `write_image` would raise for `image` enlarged `scale` times, before the work is done."""
    check_kind(check_target(path), ImageForm.of(image.pixels), name=os.fspath(path), icc=image.icc, scale=scale)


def check_kind(kind: Kind, form: ImageForm, *, name: str = "result", icc: bytes | None = None, scale: int = 1) -> None:
    """Raise what `encode_image` would raise for pixels of `form` with the profile `icc`, enlarged `scale` times."""
    height, width, channels, dtype = form
    if dtype not in (np.uint8, np.uint16) or channels not in (1, 2, 3, 4) or not height * width:
        raise ImageError(
            name,
            found=f"{dtype} {(height, width, channels)}",
            expected="uint8 or uint16 [H, W, C] with 1 to 4 channels",
            mend="Convert the pixels first.",
        )
    if dtype == np.uint16 and kind in ("JPEG", "WebP"):
        raise ImageError(name, found=f"16 bit for {kind}", expected="8 bit", mend=LOSSLESS)
    if channels % 2 == 0 and kind == "JPEG":
        raise ImageError(name, found="transparency for JPEG", expected="no alpha", mend=LOSSLESS)
    if kind == "WebP" and channels < 3 and icc is not None and icc[16:20] == b"GRAY":
        raise ImageError(name, found="a grey profile for WebP", expected="RGB, all it stores", mend=LOSSLESS)
    limit = LONGEST_SIDE.get(kind)
    if limit is not None and max(height, width) * scale > limit:
        raise LimitError(
            name,
            found=f"{width * scale} x {height * scale} pixels for {kind}",
            expected=f"at most {limit} a side",
            mend=LOSSLESS,
        )


def _to_vips(image: ImageFile, kind: Kind) -> Any:
    """The pixels as the library's image, with the metadata that every saver shares; pixels are not copied."""
    pixels = np.ascontiguousarray(image.pixels)
    height, width, channels = pixels.shape
    wide = pixels.dtype == np.uint16
    colours = ("grey16" if wide else "b-w") if channels < 3 else ("rgb16" if wide else "srgb")
    x_dpi, y_dpi = image.dpi or (USUAL_DPI, USUAL_DPI)
    vips = pyvips.Image.new_from_memory(pixels, width, height, channels, "ushort" if wide else "uchar").copy(
        interpretation=colours, xres=x_dpi / MM_PER_INCH, yres=y_dpi / MM_PER_INCH
    )
    exif = image.exif
    if exif is None and image.dpi is not None and kind in ("JPEG", "WebP"):
        exif = exif_bytes({})  # WebP has no other place for the DPI, and into JPEG the library writes no other
    vips.set_type(pyvips.GValue.gstr_type, "resolution-unit", "in")
    blocks = {"icc-profile-data": image.icc, "exif-data": exif, "xmp-data": image.xmp}
    for field, block in blocks.items():
        if block is not None:
            vips.set_type(pyvips.GValue.blob_type, field, block)
    return vips


def _save_png(vips: Any, file: BinaryIO, quality: int, keep: int) -> None:
    # A 2048x2048 photo, filter up, levels 1, 2, 3, 6: 0.20, 0.22, 0.28, 0.49 s; 11.3, 8.3, 8.2, 8.2 MB. Level 2
    # without a filter: 0.29 s, 11.0 MB; with all filters tried: 0.36 s, 7.7 MB.
    vips.pngsave_target(_target(file), compression=2, filter="up", keep=keep)


def _save_jpeg(vips: Any, file: BinaryIO, quality: int, keep: int) -> None:
    vips.jpegsave_target(_target(file), Q=quality, keep=keep)


def _save_webp(vips: Any, file: BinaryIO, quality: int, keep: int) -> None:
    # The same photo at Q 95, efforts 0, 2, 4: 0.31, 0.47, 0.87 s; 1.83, 1.74, 1.75 MB.
    vips.webpsave_target(_target(file), Q=quality, effort=2, keep=keep)


def _save_tiff(vips: Any, file: BinaryIO, quality: int, keep: int) -> None:
    # The same photo, levels 1, 2, 6: 0.14, 0.23, 0.31 s; 10.8, 7.9, 7.8 MB.
    options = {"compression": "deflate", "predictor": "horizontal", "level": 2, "bigtiff": _is_big(vips)}
    vips.tiffsave_target(_target(file), keep=keep, **options)


def _target(file: BinaryIO) -> Any:
    return pyvips.Target.new_to_descriptor(file.fileno())


def _is_big(vips: Any) -> bool:
    """Classic TIFF counts in 32 bits; a little is left for what is not pixels."""
    wide = 2 if vips.format == "ushort" else 1
    return bool(vips.width * vips.height * vips.bands * wide > 4_000_000_000)


SAVERS: dict[Kind, Callable[[Any, BinaryIO, int, int], None]] = {
    "PNG": _save_png,
    "JPEG": _save_jpeg,
    "WebP": _save_webp,
    "TIFF": _save_tiff,
}
