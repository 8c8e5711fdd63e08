"""EXIF and TIFF tags as values: read from a file, changed, laid out again.

The codec library neither reads nor writes the EXIF of a TIFF file, and keeps the orientation tag that it was
told to apply; both need the tags themselves. Layouts: TIFF 6.0 section 2, the BigTIFF design (read only),
EXIF 2.3 section 4.6. Thumbnails (the second directory) are left out: they would show the image as it was
before.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, NamedTuple

import numpy as np

__all__ = ["Tag", "TagError", "Tags", "add_exif", "dpi", "exif_bytes", "parse_exif", "read_tags"]

ORIENTATION = 0x0112
PHOTOMETRIC = 0x0106
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
WIDTH_IN_EXIF, HEIGHT_IN_EXIF = 0xA002, 0xA003

# What describes the picture and not its storage: description, make, model, software, date, artist, copyright.
DESCRIPTIVE = frozenset({0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, EXIF_IFD, GPS_IFD})
SHORT, LONG = 3, 4
WORDS = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 4,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
SIZES = {**WORDS, 5: 8, 10: 8}  # a rational is two words
MAX_VALUE_BYTES = 1 << 24  # a longer value (an editor's layers) is skipped: far above any profile or maker note
MAX_BYTES = 1 << 26  # of one directory: many entries may point at the same bytes


class TagError(ValueError):
    """The bytes are not the tag directory that they claim to be."""


class Tag(NamedTuple):
    """One value: TIFF type number and its little-endian bytes, or the directory it points to."""

    kind: int
    data: bytes
    directory: dict[int, Tag] | None = None


Tags = dict[int, Tag]


def dpi(tags: Tags) -> tuple[float, float] | None:
    """(horizontal, vertical) pixels per inch, or None where the tags do not say both and their unit."""
    if not {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT} <= tags.keys():
        return None
    per_inch = {b"\2\0": 1.0, b"\3\0": 2.54}.get(tags[RESOLUTION_UNIT].data)
    fractions = [tags[tag].data for tag in (X_RESOLUTION, Y_RESOLUTION)]
    if per_inch is None or any(len(data) != 8 for data in fractions):
        return None
    (x_over, x_under), (y_over, y_under) = (struct.unpack("<II", data) for data in fractions)
    if not (x_over and x_under and y_over and y_under):
        return None
    return x_over / x_under * per_inch, y_over / y_under * per_inch


class _Layout(NamedTuple):
    """Classic TIFF or BigTIFF, and the byte order."""

    order: str
    entries: str  # struct code of the number of entries
    entry: str
    inline: int  # bytes of a value that fit into its entry
    offset: str


def read_tags(file: BinaryIO) -> Tags:
    """The tags of the first directory of a TIFF file or an EXIF block, with EXIF, GPS and interop directories.

    `file` is read from its position 0 on. Raises `TagError` where it is damaged.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise TagError("no TIFF header")
    if head[2:4] == struct.pack(order + "H", 43) and len(head) == 16:
        layout = _Layout(order, "Q", "HHQ8s", 8, "Q")
        return _directory(file, struct.unpack(order + "Q", head[8:])[0], layout, depth=0)
    layout = _Layout(order, "H", "HHI4s", 4, "I")
    return _directory(file, struct.unpack(order + "I", head[4:8])[0], layout, depth=0)


def parse_exif(block: bytes) -> Tags:
    """The tags of an EXIF block, with or without its `Exif` prefix. Raises `TagError` where it is damaged."""
    return read_tags(io.BytesIO(block.removeprefix(b"Exif\0\0")))


def exif_bytes(tags: Tags) -> bytes:
    """An EXIF block (little-endian, no prefix) of the descriptive ones of `tags`, upright: orientation 1."""
    kept = {tag: value for tag, value in tags.items() if tag in DESCRIPTIVE}
    kept[ORIENTATION] = Tag(SHORT, struct.pack("<H", 1))
    return b"II*\0" + struct.pack("<I", 8) + _laid_out(kept, 8)


def add_exif(file: BinaryIO, exif: bytes, width: int, height: int) -> None:
    """Put the descriptive tags of `exif` into the finished little-endian classic TIFF `file`.

    A new first directory is appended and the header pointed at it; pixels stay where they are. The size that
    EXIF repeats becomes `width` x `height`. Raises `TagError` for another kind of file.
    """
    tags = read_tags(file)
    file.seek(0)
    if file.read(4) != b"II*\0":
        raise TagError("not a little-endian classic TIFF")
    tags |= {tag: value for tag, value in parse_exif(exif).items() if tag in DESCRIPTIVE}
    inner = tags[EXIF_IFD].directory if EXIF_IFD in tags else None
    for tag, side in ((WIDTH_IN_EXIF, width), (HEIGHT_IN_EXIF, height)):
        if inner is not None and tag in inner:
            inner[tag] = Tag(LONG, struct.pack("<I", side))
    end = file.seek(0, io.SEEK_END)
    start = end + end % 2  # directories begin on a word
    file.write(bytes(start - end) + _laid_out(tags, start))
    file.seek(4)
    file.write(struct.pack("<I", start))


def _directory(file: BinaryIO, start: int, layout: _Layout, depth: int) -> Tags:
    entry = struct.Struct(layout.order + layout.entry)
    head = struct.calcsize("=" + layout.entries)
    (count,) = struct.unpack(layout.order + layout.entries, _bytes_at(file, start, head))
    table = _bytes_at(file, start + head, count * entry.size)
    tags: Tags = {}
    total = 0
    for tag, kind, values, raw in entry.iter_unpack(table):
        size = values * SIZES.get(kind, 0)
        if kind not in SIZES or size > MAX_VALUE_BYTES:
            continue  # TIFF 6.0: readers skip types that they do not know
        (offset,) = struct.unpack(layout.order + layout.offset, raw)
        if tag in (EXIF_IFD, GPS_IFD, INTEROP_IFD):
            if depth < 2:  # first directory, EXIF in it, interop in that; a deeper one is a loop
                tags[tag] = Tag(LONG, b"", _directory(file, offset, layout, depth + 1))
            continue
        total += size
        if total > MAX_BYTES:
            raise TagError(f"more than {MAX_BYTES} bytes of tags")
        data = raw[:size] if size <= layout.inline else _bytes_at(file, offset, size)
        word = WORDS[kind]
        tags[tag] = Tag(kind, np.frombuffer(data, f"{layout.order}u{word}").astype(f"<u{word}").tobytes())
    return tags


def _bytes_at(file: BinaryIO, start: int, size: int) -> bytes:
    if size > MAX_VALUE_BYTES or start >= 1 << 63:
        raise TagError(f"{size} bytes of tags at {start}")
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise TagError(f"{len(data)} of {size} bytes of tags at {start}")
    return data


def _laid_out(tags: Tags, start: int) -> bytes:
    """A little-endian classic directory at file position `start`, its values and sub-directories behind it."""
    table, tail = bytearray(struct.pack("<H", len(tags))), bytearray()
    after = start + 2 + 12 * len(tags) + 4
    for number in sorted(tags):
        tag = tags[number]
        position = after + len(tail)
        if tag.directory is not None:
            count, field = 1, struct.pack("<I", position)
            tail += _laid_out(tag.directory, position)
        else:
            count, field = len(tag.data) // SIZES[tag.kind], tag.data.ljust(4, b"\0")
            if len(tag.data) > 4:
                field = struct.pack("<I", position)
                tail += tag.data
        tail += bytes(len(tail) % 2)
        table += struct.pack("<HHI4s", number, tag.kind, count, field)
    return bytes(table + bytes(4) + tail)
