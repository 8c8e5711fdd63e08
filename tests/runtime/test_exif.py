"""Tags as values: read in both byte orders, laid out again, put into a TIFF, and damage that stays harmless."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from lqhq.runtime import exif as x
from lqhq.runtime.exif import Tag, TagError

SEED = 20260704
MAKE, DATE, ISO, EXPOSURE, NOTE, LATITUDE = 0x010F, 0x9003, 0x8827, 0x829A, 0x927C, 0x0002


def pillow_exif(order="<", orientation=6):
    """An EXIF block made by Pillow: ASCII, SHORT, RATIONAL, UNDEFINED; nested GPS; both byte orders."""
    exif = Image.Exif()
    exif.endian = order
    exif[x.ORIENTATION], exif[MAKE], exif[0x0100] = orientation, "A maker of cameras", 4000
    inner = exif.get_ifd(x.EXIF_IFD)
    inner[DATE], inner[ISO], inner[EXPOSURE] = "2021:02:03 04:05:06", 400, IFDRational(1, 250)
    inner[NOTE], inner[x.WIDTH_IN_EXIF], inner[x.HEIGHT_IN_EXIF] = b"note" * 20, 4000, 3000
    exif.get_ifd(x.GPS_IFD).update({1: "N", LATITUDE: (52.0, 30.0, 1.5)})
    return exif.tobytes()


def seen_by_pillow(block):
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return dict(exif), dict(exif.get_ifd(x.EXIF_IFD)), dict(exif.get_ifd(x.GPS_IFD))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_an_exif_block_is_kept_but_for_its_orientation(order, prefix):
    block = pillow_exif(order).removeprefix(b"Exif\0\0")
    outer, inner, gps = seen_by_pillow(x.exif_bytes(x.parse_exif(prefix + block)))
    assert outer[x.ORIENTATION] == 1
    assert outer[MAKE] == "A maker of cameras"
    assert 0x0100 not in outer  # the width describes the storage
    assert (inner[DATE], inner[ISO], float(inner[EXPOSURE])) == ("2021:02:03 04:05:06", 400, 1 / 250)
    assert inner[NOTE] == b"note" * 20
    assert gps == {1: "N", LATITUDE: (52.0, 30.0, 1.5)}


def test_laying_out_is_stable():
    once = x.exif_bytes(x.parse_exif(pillow_exif(">")))
    assert x.exif_bytes(x.parse_exif(once)) == once


def test_a_swapped_byte_order_would_be_noticed():
    """The planted fault."""
    block = bytearray(pillow_exif("<").removeprefix(b"Exif\0\0"))
    block[:4] = b"MM\0*"
    with pytest.raises(TagError):
        x.parse_exif(bytes(block))


@pytest.mark.parametrize("unit", [2, 3])
def test_dpi(unit):
    def fraction(a, b):
        return Tag(5, struct.pack("<II", a, b))

    tags = {
        x.X_RESOLUTION: fraction(600, 2),
        x.Y_RESOLUTION: fraction(150, 1),
        x.RESOLUTION_UNIT: Tag(3, struct.pack("<H", unit)),
    }
    assert x.dpi(tags) == pytest.approx((300, 150) if unit == 2 else (762, 381))
    assert x.dpi({**tags, x.RESOLUTION_UNIT: Tag(3, b"\1\0")}) is None
    assert x.dpi({**tags, x.X_RESOLUTION: fraction(300, 0)}) is None
    assert x.dpi({}) is None


def tiff(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression="tiff_deflate", dpi=(300, 300))
    return file


def test_exif_goes_into_a_tiff_and_pixels_stay():
    pixels = np.random.default_rng(SEED).integers(0, 256, (31, 17, 3), dtype=np.uint8)
    file = tiff(pixels)
    x.add_exif(file, pillow_exif(">"), 17, 31)
    image = Image.open(file)
    assert np.array_equal(np.asarray(image), pixels)
    exif = image.getexif()
    assert exif[MAKE] == "A maker of cameras"
    assert image.info["dpi"] == (300, 300)
    inner = exif.get_ifd(x.EXIF_IFD)
    assert (inner[DATE], inner[x.WIDTH_IN_EXIF], inner[x.HEIGHT_IN_EXIF]) == ("2021:02:03 04:05:06", 17, 31)
    assert exif.get_ifd(x.GPS_IFD)[1] == "N"


def test_other_tiffs_are_left_alone():
    file = io.BytesIO(b"MM\0*" + struct.pack(">IH", 8, 0) + bytes(8))
    with pytest.raises(TagError, match="little-endian classic"):
        x.add_exif(file, pillow_exif(), 1, 1)


def test_big_tiff_is_read():
    entry = struct.pack("<HHQ8s", MAKE, 2, 4, b"abc\0") + struct.pack("<HHQQ", 0x0110, 2, 12, 16 + 8 + 40 + 8)
    block = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + struct.pack("<Q", 2) + entry + bytes(8) + b"hello world\0"
    tags = x.read_tags(io.BytesIO(block))
    assert tags == {MAKE: Tag(2, b"abc\0"), 0x0110: Tag(2, b"hello world\0")}


def test_every_cut_is_an_error_or_a_shorter_block():
    block = pillow_exif().removeprefix(b"Exif\0\0")
    refused = 0
    for end in range(len(block)):
        try:
            x.parse_exif(block[:end])
        except TagError:
            refused += 1
    assert refused > len(block) * 0.9


def test_random_damage_stays_harmless():
    rng = np.random.default_rng(SEED)
    whole = np.frombuffer(pillow_exif().removeprefix(b"Exif\0\0"), np.uint8)
    for _ in range(2000):
        block = whole.copy()
        block[rng.integers(4, len(block), 4)] = rng.integers(0, 256, 4)
        try:
            x.exif_bytes(x.parse_exif(block.tobytes()))
        except TagError:
            continue


def test_a_loop_of_directories_ends():
    block = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", x.EXIF_IFD, 4, 1, 8) + bytes(4)
    assert x.parse_exif(block)[x.EXIF_IFD].directory is not None


def test_many_entries_pointing_at_the_same_bytes_are_refused():
    entries = b"".join(struct.pack("<HHII", 0x9000 + i, 7, 1 << 23, 0) for i in range(100))
    block = b"II*\0" + struct.pack("<IH", 8, 100) + entries + bytes(1 << 23)
    with pytest.raises(TagError, match="more than"):
        x.parse_exif(block)
