"""Which decoded headers are refused, and what to do about it. Reading itself is in `image_file.py`."""

from __future__ import annotations

import shlex
from typing import Any

from lqhq.runtime.errors import ImageError, LimitError

__all__ = ["check_header", "wrong_colours"]

INTERPRETATIONS = ("b-w", "srgb", "rgb", "grey16", "rgb16")


def check_header(name: str, image: Any, frames: int, max_pixels: int) -> None:
    """Refuse what cannot be restored: `image` is the codec library's, of `frames` frames or pages.

    Raises `LimitError` for more than `max_pixels` pixels, else `ImageError`.
    """
    if image.width * image.height > max_pixels:
        raise LimitError(
            name,
            found=f"{image.width} x {image.height} pixels",
            expected=f"at most {max_pixels} pixels",
            mend="Reduce it or cut it into parts; from Python, `read_image(path, max_pixels=...)` takes more.",
        )
    if frames > 1:
        raise ImageError(
            name,
            found=f"{frames} frames or pages",
            expected="a single image",
            mend="Save the one you want as a file of its own, for example: " + _command(name, ""),
        )
    if image.interpretation == "cmyk":
        raise ImageError(
            name,
            found="CMYK colours",
            expected="grey or RGB",
            mend="Convert it, for example: " + _command(name, ".icc_transform('srgb', embedded=True)"),
        )
    if image.format not in ("uchar", "ushort"):
        raise ImageError(
            name,
            found=f"pixels of type {image.format}",
            expected="8 or 16 bit unsigned",
            mend="Convert it; values from 0 to 1, for example: " + _command(name, ".linear(65535, 0).cast('ushort')"),
        )
    if image.interpretation not in INTERPRETATIONS or image.bands > 4:
        raise wrong_colours(name, f"{image.bands} channels, colours {image.interpretation}")


def wrong_colours(name: str, found: str) -> ImageError:
    """The error for colours that are neither grey nor RGB."""
    return ImageError(
        name,
        found=found,
        expected="grey or RGB, with or without alpha",
        mend="Save it as grey or RGB from the program that wrote it.",
    )


def _command(name: str, steps: str) -> str:
    """A command that works wherever this package does: it uses the same library."""
    script = f"import sys, pyvips; pyvips.Image.new_from_file(sys.argv[1]){steps}.write_to_file(sys.argv[2])"
    return f'python -c "{script}" {shlex.quote(name)} OUTPUT.png'
