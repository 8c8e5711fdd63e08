"""Tags of an image: what the tagger sees of it, and which of its answers count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import BundleError, EngineError
from lqhq.runtime.geometry import Box, Size

__all__ = ["Tags", "tag_image"]

Array = NDArray[np.float32]

MAX_BYTES = 4 << 20  # of either list; 4585 names take 50 kB
MAX_TAGS = 1 << 16
MAX_NAME = 200  # characters
BAND = 1 << 20  # pixels read at once, where neighbouring outputs see the same rows
STEEPEST = 700.0  # beyond it float64's exponential overflows, and the sigmoid is 0 or 1 long before
AGAIN = "Get an undamaged copy of the bundle, or export the checkpoint again."


def tag_image(read: Callable[[Box], Array], size: Size, side: int) -> Array:
    """The image as the tagger wants it, `[3, side, side]` float32 in [0, 1], whatever its proportions.

    `read(box)` gives a part of the image of `size`, `[h, w, 3]` float32; it is clipped to [0, 1], as an enlargement
    may overshoot. Bilinear at pixel centres, two taps along each axis however much is shrunk: torch's `interpolate`
    without antialias, which torchvision 0.15 takes for tensors, and with its float32 positions. Only the rows under
    the taps are read, once or little more, in bands.
    """
    y0, y1, along_y = _taps(size.height, side)
    x0, x1, along_x = _taps(size.width, side)
    out = np.empty((side, side, 3), np.float32)
    # Shrunk to less than half, outputs share no rows: pairs alone are read, and what is between them is not.
    count = max(1, BAND // (2 * size.width)) if size.height <= 2 * side else 1
    for first in range(0, side, count):
        part = slice(first, first + count)
        top, bottom = int(y0[part][0]), int(y1[part][-1]) + 1
        band = np.clip(read(Box(top, 0, bottom - top, size.width)), 0, 1)
        columns = _mixed(band[:, x0], band[:, x1], along_x[None, :, None])
        out[part] = _mixed(columns[y0[part] - top], columns[y1[part] - top], along_y[part, None, None])
    return np.ascontiguousarray(out.transpose(2, 0, 1))


def _mixed(first: Array, second: Array, share: Array) -> Array:
    return first * (1 - share) + second * share


def _taps(length: int, side: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """The two source indices of each output along one axis, and the share of the second."""
    scale = np.float32(length) / np.float32(side)
    at = np.maximum(scale * (np.arange(side, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), np.float32(0))
    below = np.minimum(at.astype(np.intp), length - 1)
    return below, np.minimum(below + 1, length - 1), (at - below).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Tags:
    """Names and thresholds, float32, by class index."""

    names: tuple[str, ...]
    thresholds: Array

    @classmethod
    def read(cls, names: Path, thresholds: Path) -> Self:
        """From the two files of a bundle, one entry per line. Raises `BundleError` for lists that are no such."""
        tags, numbers = _lines(names), _lines(thresholds)
        if len(tags) != len(numbers):
            raise _fault(thresholds, f"{len(numbers)} thresholds", f"{len(tags)}, as there are tags")
        for tag in tags:
            if not tag.strip() or len(tag) > MAX_NAME or not tag.isprintable():
                raise _fault(names, f"the tag {tag[:40]!r}", f"1 to {MAX_NAME} printable characters")
        return cls(tuple(tags), np.array([_threshold(thresholds, number) for number in numbers], np.float32))

    def chosen(self, logits: Array) -> list[str]:
        """The tags that are on, by class index, for `logits` `[K]`.

        A tag is on where its sigmoid is above its threshold, both in float32 as in the original; never at 1.
        Raises `BundleError` for another number of logits, `EngineError` for those that are no numbers.
        """
        if logits.shape != (len(self.names),):
            raise BundleError(
                "tags",
                found=f"{len(self.names)} tags for logits of shape {list(logits.shape)}",
                expected="a tag for each",
                mend=AGAIN,
            )
        if not np.isfinite(logits).all():
            raise EngineError(
                "tag graph",
                found="logits that are no numbers",
                expected="finite ones",
                mend="Use --precision fp32, or leave out --tagger.",
            )
        steep = np.clip(logits.astype(np.float64), -STEEPEST, STEEPEST)
        sure = (1 / (1 + np.exp(-steep))).astype(np.float32) > self.thresholds
        return [self.names[index] for index in np.flatnonzero(sure)]


def _lines(path: Path) -> list[str]:
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise _fault(path, f"{size} bytes", f"at most {MAX_BYTES}")
        lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise _fault(path, "bytes that are not UTF-8", "text") from error
    except OSError as error:
        raise _fault(path, error.strerror or str(error), "a readable file") from error
    if len(lines) > MAX_TAGS:
        raise _fault(path, f"{len(lines)} lines", f"at most {MAX_TAGS}")
    return lines


def _threshold(path: Path, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:  # not a number, or none
        raise _fault(path, f"the threshold {text[:40]!r}", "a number from 0 to 1")
    return value


def _fault(path: Path, found: str, expected: str) -> BundleError:
    return BundleError(path.name, found=found, expected=expected, mend=AGAIN)
