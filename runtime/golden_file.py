"""Reads the reference arrays of a bundle, an npz that nobody vouches for: every claim is checked before it is believed.

NumPy's own reader takes memory as an array's header asks, and unpacks with whatever method the archive names.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lqhq.runtime.errors import BundleError

__all__ = ["read_golden", "unusable"]

MAX_ARRAYS = 256
MAX_BYTES = 64 << 20  # unpacked, of all arrays; export writes a thousandth of that
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes
ENCRYPTED = 0x1  # flag bit of a zip entry
KINDS = "fiuU"  # numbers, and the name of a schedule
# What zipfile and NumPy's header reader raise on files that were cut, flipped or forged.
READ_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    SyntaxError,
    EOFError,
    OverflowError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)


def read_golden(path: Path, where: str) -> dict[str, NDArray[Any]]:
    """The arrays of an npz by name. Raises `BundleError` about `where` for all but what export writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if len(entries) > MAX_ARRAYS or total > MAX_BYTES:
                raise unusable(where, f"{len(entries)} arrays of {total} bytes")
            return {entry.filename.removesuffix(".npy"): _array(archive, entry, where) for entry in entries}
    except READ_ERRORS as error:
        raise unusable(where, f"an archive that cannot be read ({type(error).__name__})") from error


def unusable(where: str, found: str) -> BundleError:
    """The one error of reference arrays: they are not what export writes."""
    return BundleError(
        where,
        found=found,
        expected="the reference arrays that `lqhq export` writes",
        mend="Give --checkpoint to compare with the network itself, or export the checkpoint again.",
    )


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> NDArray[Any]:
    where = f"{where}: {entry.filename[:80]!r}"
    if entry.flag_bits & ENCRYPTED or entry.compress_type not in METHODS:
        raise unusable(where, "an encrypted entry" if entry.flag_bits & ENCRYPTED else "a foreign compression")
    with archive.open(entry) as stream:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise unusable(where, f"version {version} of NumPy's format")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        wanted = math.prod(shape) * dtype.itemsize  # Python's integers: no overflow
        usable = dtype.kind in KINDS and dtype.isnative and dtype.itemsize > 0 and min(shape, default=0) >= 0
        if not usable or wanted > entry.file_size:
            raise unusable(where, f"shape {_short(shape)} of {dtype.str} in {entry.file_size} bytes")
        data = stream.read(wanted)
    if len(data) != wanted:
        raise unusable(where, f"{len(data)} bytes instead of {wanted}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _short(shape: tuple[int, ...]) -> str:
    return str(shape)[:80]
