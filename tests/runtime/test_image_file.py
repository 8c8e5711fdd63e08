"""Reading image files: what is kept, what is turned upright, and clear answers to what is not taken."""

from __future__ import annotations

import io
import os
import re
import shlex
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lqhq.runtime import image_file
from lqhq.runtime.errors import ImageError, LimitError, LqhqError
from lqhq.runtime.image_file import SUFFIXES, ImageFile, image_form, read_image, read_image_bytes
from lqhq.runtime.image_form import ImageForm

SEED = 20260705
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
ORIENTATION, MAKE = 0x0112, 0x010F


def noise(height=20, width=30, channels=3, dtype=np.uint8):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(SEED).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def read(tmp_path):
    """Reads `data` from a file, and sees that it is read alike from memory, and its form from the header."""

    def read(data, name="image.bin", **options):
        path = tmp_path / name
        path.write_bytes(data)
        found, error = outcome(lambda: read_image(path, **options))
        again, same_error = outcome(lambda: read_image_bytes(data, name=str(path), **options))
        form, form_error = outcome(lambda: image_form(data, name=str(path), **options))
        assert told(same_error) == told(error)
        if error is not None:
            if "damaged" not in str(error):  # which only the pixels may show
                assert told(form_error) == told(error)
            raise error
        assert same(found, again)
        assert form == ImageForm.of(found.pixels)
        return found

    return read


def told(error):
    """The codec's own words depend on what it met before."""
    return re.sub(r"damaged \(.*\);", "damaged;", str(error))


def outcome(call):
    try:
        return call(), None
    except LqhqError as error:
        return None, error


def same(one: ImageFile, other: ImageFile) -> bool:
    fields = [(found.icc, found.exif, found.xmp, found.dpi) for found in (one, other)]
    return fields[0] == fields[1] and np.array_equal(one.pixels, other.pixels)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows=b"", extra=b""):
    """A PNG by hand, for what Pillow does not write."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WebP"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_pixels_are_what_pillow_wrote(read, kind, channels):
    pixels = noise(channels=channels)
    options = {"lossless": True, "exact": True} if kind == "WebP" else {}
    result = read(encoded(pixels, kind, **options)).pixels
    if kind == "WebP" and channels == 1:
        pixels = np.dstack([pixels] * 3)  # the format has no grey
    assert result.dtype == np.uint8
    assert np.array_equal(result, pixels.reshape(20, 30, -1))


def test_jpeg_grey_and_rgb(read):
    assert read(encoded(noise(channels=1), "JPEG")).pixels.shape == (20, 30, 1)
    smooth = np.array(Image.linear_gradient("L").convert("RGB"))
    result = read(encoded(smooth, "JPEG", quality=98)).pixels
    assert np.abs(result.astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey(read, kind):
    pixels = noise(channels=1, dtype=np.uint16)
    result = read(encoded(pixels, kind)).pixels
    assert result.dtype == np.uint16
    assert np.array_equal(result[:, :, 0], pixels)


def test_sixteen_bit_rgba_png(read):
    pixels = noise(5, 4, 4, np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    assert np.array_equal(read(png(4, 5, 16, 6, rows)).pixels, pixels)


def test_grey_with_alpha(read):
    grey = noise(channels=2)
    assert np.array_equal(read(encoded(grey)).pixels, grey)


@pytest.mark.parametrize(("depth", "packed"), [(1, 0b10100000), (2, 0b00011011), (4, 0x0F)])
def test_low_depths_become_eight_bit(read, depth, packed):
    values = [packed >> (8 - depth * (i + 1)) & ((1 << depth) - 1) for i in range(2)]
    expected = [value * 255 // ((1 << depth) - 1) for value in values]
    result = read(png(2, 1, depth, 0, bytes([0, packed]))).pixels
    assert result.dtype == np.uint8
    assert result[0, :, 0].tolist() == expected


def test_bilevel_tiff_becomes_eight_bit(read):
    bits = noise(channels=1) > 127
    for compression in (None, "group4"):
        assert np.array_equal(read(encoded(bits, "TIFF", compression=compression)).pixels[:, :, 0], bits * 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_palette_becomes_rgb(read, kind):
    palette = Image.fromarray(noise()).quantize(16)
    file = io.BytesIO()
    palette.save(file, kind)
    assert np.array_equal(read(file.getvalue()).pixels, np.asarray(palette.convert("RGB")))


def test_a_transparent_palette_becomes_rgba(read):
    palette = Image.fromarray(noise()).quantize(16)
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=3)
    result = read(file.getvalue()).pixels
    assert result.shape[2] == 4
    assert np.array_equal(result[:, :, 3] == 0, np.asarray(palette) == 3)


def test_premultiplied_tiff_becomes_straight(tmp_path):
    straight = np.zeros((4, 4, 4), np.uint8)
    straight[:, :2], straight[:, 2:] = (200, 100, 40, 128), (200, 100, 40, 255)
    image = pyvips.Image.new_from_memory(straight, 4, 4, 4, "uchar").copy(interpretation="srgb")
    path = tmp_path / "premultiplied.tif"
    image.tiffsave(str(path), premultiply=True)
    result = read_image(path).pixels
    assert np.abs(result.astype(int) - straight).max() <= 1
    assert read_image(path).pixels[0, 0, 0] > 190  # 100 as it lies in the file: the codec divides by alpha


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_once(tmp_path, kind, orientation):
    """A ramp with four different corners, stored turned; Pillow's own transposition is the oracle."""
    ramp = np.zeros((16, 24, 3), np.uint8)
    ramp[:8, :12], ramp[:8, 12:], ramp[8:, :12], ramp[8:, 12:] = 250, 170, 90, 10
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = orientation, "Maker"
    path = tmp_path / "turned"
    path.write_bytes(encoded(ramp, kind, exif=exif, **({"dpi": (300, 150)} if kind in ("PNG", "TIFF") else {})))
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)  # Pillow's numbers
    image = Image.fromarray(ramp)
    expected = np.asarray(image if turn is None else image.transpose(turn))
    opened = read_image(path)
    assert same(opened, read_image_bytes(path.read_bytes(), name="turned"))
    assert image_form(path.read_bytes(), name="turned") == ImageForm.of(expected)
    assert opened.pixels.shape == expected.shape
    assert np.abs(opened.pixels.astype(int) - expected).max() <= 8
    assert opened.pixels.flags.c_contiguous
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + opened.exif)
    assert (kept[ORIENTATION], kept[MAKE]) == (1, "Maker")
    if kind in ("PNG", "TIFF"):
        assert opened.dpi == pytest.approx((150, 300) if orientation >= 5 else (300, 150), rel=1e-3)


def test_an_orientation_left_alone_would_be_noticed(tmp_path, monkeypatch):
    """The planted fault."""
    monkeypatch.setattr(image_file, "TRANSPOSED", ())
    with pytest.raises(AssertionError):
        test_every_orientation_is_applied_once(tmp_path, "JPEG", 6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
def test_profile_xmp_and_dpi(read, kind):
    options = {"icc_profile": SRGB, "dpi": (300, 300)}
    if kind == "TIFF":
        options["tiffinfo"] = ImageFileDirectory_v2()
        options["tiffinfo"][700] = XMP
        options["tiffinfo"].tagtype[700] = 1
    elif kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    else:
        options["xmp"] = XMP
    opened = read(encoded(noise(), kind, **options))
    assert opened.icc == SRGB
    assert opened.xmp == XMP.replace(b'"6"', b'"1"')
    assert opened.dpi == (None if kind == "WebP" else pytest.approx((300, 300), rel=1e-4))
    assert opened.exif is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
def test_a_plain_file_carries_nothing(read, kind):
    opened = read(encoded(noise(), kind))
    assert (opened.icc, opened.exif, opened.xmp, opened.dpi) == (None, None, None, None)


def test_the_content_decides_not_the_name(read):
    assert read(encoded(noise(), "PNG"), "photo.jpg").pixels.shape == (20, 30, 3)


def test_a_tiff_of_one_large_strip_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(TiffImagePlugin, "STRIP_SIZE", 1 << 30)
    path = tmp_path / "strip.tif"
    Image.new("RGB", (4200, 4200), (1, 2, 3)).save(path, compression="tiff_adobe_deflate")
    assert read_image(path).pixels[-1, -1].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", ["a [page=1].png", "ümlaut,✓.png", "x" * 250 + ".png", "-rf.png", "100%s.png"])
def test_any_name_is_only_a_name(read, name):
    assert read(encoded(noise()), name).pixels.shape == (20, 30, 3)


def test_a_changed_file_is_read_again(read):
    first = read(encoded(noise()), "same.png").pixels
    second = read(encoded(255 - noise()), "same.png").pixels
    assert np.array_equal(first, 255 - second)


def frames(kind):
    images = [Image.fromarray(noise() + np.uint8(i)) for i in range(3)]
    file = io.BytesIO()
    images[0].save(file, kind, save_all=True, append_images=images[1:])
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WebP", "TIFF"])
def test_animations_and_pages_are_refused(read, kind):
    with pytest.raises(ImageError, match="found 3 frames or pages"):
        read(frames(kind))


def test_a_png_of_empty_chunks_is_not_walked_to_its_end(read, monkeypatch):
    monkeypatch.setattr(image_file, "MOST_CHUNKS", 20)
    whole = png(1, 1, 8, 0, rows=b"\0\0", extra=chunk(b"zzZz", b"") * 18)  # with IHDR and IDAT: the 20 that are seen
    assert read(whole).pixels.shape == (1, 1, 1)
    with pytest.raises(ImageError, match="more than 20 chunks before its pixels"):
        read(png(1, 1, 8, 0, rows=b"\0\0", extra=chunk(b"zzZz", b"") * 19))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_refused_with_a_command_that_works(tmp_path, kind):
    path = tmp_path / "it's cmyk.bin"
    Image.fromarray(noise(channels=4), "RGBX").convert("RGB").convert("CMYK").save(path, kind)
    with pytest.raises(ImageError, match="CMYK") as raised:
        read_image(path)
    command = raised.value.mend.partition("for example: python ")[2]
    subprocess.run([sys.executable, *shlex.split(command)], cwd=tmp_path, check=True)
    assert read_image(tmp_path / "OUTPUT.png").pixels.shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (Image.fromarray(noise(channels=1).astype(np.float32)), "type float"),
        (Image.fromarray(noise(channels=1).astype(np.int32)), "type int"),
        (Image.fromarray(noise()).convert("LAB"), r"L\*a\*b\*"),
    ],
)
def test_other_pixels_are_refused(read, image, word):
    file = io.BytesIO()
    image.save(file, "TIFF")
    with pytest.raises(ImageError, match=word):
        read(file.getvalue())


def test_five_channels_are_refused(tmp_path):
    path = tmp_path / "five.tif"
    pyvips.Image.new_from_memory(bytes(100), 4, 5, 5, "uchar").copy(interpretation="srgb").tiffsave(str(path))
    with pytest.raises(ImageError, match="5 channels"):
        read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
def test_a_file_that_breaks_off_is_refused(read, kind):
    whole = encoded(noise(200, 300), kind)
    assert read(whole).pixels.shape == (200, 300, 3)
    for part in (0.01, 0.3, 0.6, 0.97):
        with pytest.raises(ImageError, match="damaged"):
            read(whole[: int(len(whole) * part) + 17])


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "an empty file"),
        (b"hello, world", "content that begins"),
        (b"GIF89a" + bytes(40), "content that begins"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "content that begins"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff\xe0", "damaged"),
    ],
)
def test_what_is_no_image_is_refused(read, data, word):
    with pytest.raises(ImageError, match=word):
        read(data, "image.png")


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(ImageError, match="Is a directory"):
        read_image(tmp_path)


def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # nobody writes: reading it would take for ever
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(ImageError, match="found a pipe or a device"):
            read_image(path)


def test_a_bomb_is_refused_from_its_header(read):
    with pytest.raises(LimitError, match="60000 x 60000"):
        read(png(60000, 60000, 8, 2))
    data = encoded(noise())
    assert read(data, max_pixels=600).pixels.shape == (20, 30, 3)
    with pytest.raises(LimitError, match=r"30 x 20 pixels.*Reduce it"):
        read(data, max_pixels=599)


def test_a_damaged_exif_is_dropped_and_the_image_kept(read):
    opened = read(encoded(noise(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"))
    assert opened.exif is None
    assert opened.pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
def test_random_damage_gives_an_image_or_a_clear_error(read, kind):
    rng = np.random.default_rng(SEED)
    whole = np.frombuffer(encoded(noise(64, 64), kind), np.uint8)
    for _ in range(60):
        data = whole.copy()
        data[rng.integers(0, min(len(data), 400), 6)] = rng.integers(0, 256, 6)
        try:
            assert read(data.tobytes(), max_pixels=1 << 20).pixels.ndim == 3
        except LqhqError:
            continue


def test_damage_is_not_printed(read, capfd):
    with pytest.raises(ImageError):
        read(encoded(noise(200, 300), "TIFF")[:5000])
    with pytest.raises(ImageError):
        read(encoded(noise(200, 300), "JPEG")[:5000])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
def test_a_form_needs_no_pixels(kind):
    """Of a file that breaks off in its pixels the form is told all the same, where the header comes first."""
    whole = encoded(noise(200, 300), kind)
    early = kind in ("PNG", "JPEG")  # a TIFF's directory comes last; of WebP the codec wants all of a frame
    cut = whole[: len(whole) // 2] if early else whole
    assert image_form(cut, name="cut") == (200, 300, 3, np.uint8)
    if early:
        with pytest.raises(ImageError, match="cut: found a file that breaks off"):
            read_image_bytes(cut, name="cut")


def test_a_bomb_in_memory_costs_nothing():
    bomb = png(60000, 60000, 8, 2)
    for read in (image_form, read_image_bytes):
        with pytest.raises(LimitError, match="upload: found 60000 x 60000"):
            read(bomb, name="upload")


def test_suffixes_are_lower_case():
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
