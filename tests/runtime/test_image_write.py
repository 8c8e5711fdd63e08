"""Writing image files: whole or not at all, the same bytes every time, with all that the image carries."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from lqhq.runtime import image_write
from lqhq.runtime.errors import ImageError, LimitError, OptionError
from lqhq.runtime.exif import EXIF_IFD, Tag, exif_bytes
from lqhq.runtime.image_file import SUFFIXES, ImageFile, read_image
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.image_write import KINDS, check_fits, check_kind, check_target, encode_image, write_image

SEED = 20260706
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
MAKE, DATE = 0x010F, 0x9003
EXIF = exif_bytes({MAKE: Tag(2, b"A maker\0"), EXIF_IFD: Tag(4, b"", {DATE: Tag(2, b"2021:02:03 04:05:06\0")})})


def noise(height=20, width=30, channels=3, dtype=np.uint8):
    values = np.random.default_rng(SEED).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype)
    return values if channels % 2 else np.maximum(values, 1)  # WebP forgets colours under no alpha at all


def smooth(channels=3):
    y, x = np.mgrid[:48, :64]
    return np.dstack([(x * 3 + y * (i + 1)) % 256 // 2 + 60 for i in range(channels)]).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_lossless_formats_give_every_bit_back(tmp_path, suffix, channels, dtype):
    pixels = noise(channels=channels, dtype=dtype)
    write_image(tmp_path / f"out{suffix}", ImageFile(pixels=pixels))
    result = read_image(tmp_path / f"out{suffix}").pixels
    assert result.dtype == dtype
    assert np.array_equal(result, pixels)


@pytest.mark.parametrize(
    ("suffix", "channels", "back"),
    [(".jpg", 1, 1), (".jpeg", 3, 3), (".webp", 1, 3), (".webp", 2, 4), (".webp", 3, 3), (".webp", 4, 4)],
)
def test_lossy_formats_stay_close(tmp_path, suffix, channels, back):
    pixels = smooth(channels)
    write_image(tmp_path / f"out{suffix}", ImageFile(pixels=pixels))
    result = read_image(tmp_path / f"out{suffix}").pixels
    assert result.shape == (48, 64, back)
    expected = np.repeat(pixels[:, :, :1], 3, axis=2) if channels < 3 and back > 2 else pixels[:, :, :3]
    assert np.abs(result[:, :, : expected.shape[2]].astype(int) - expected).mean() < 3


def test_pillow_reads_the_same(tmp_path):
    pixels = noise(channels=4)
    for suffix in (".png", ".tif"):
        write_image(tmp_path / f"out{suffix}", ImageFile(pixels=pixels))
        with Image.open(tmp_path / f"out{suffix}") as image:
            assert np.array_equal(np.asarray(image), pixels)


def test_swapped_channels_would_be_noticed(tmp_path):
    """The planted fault."""
    pixels = smooth()
    write_image(tmp_path / "out.jpg", ImageFile(pixels=pixels[:, :, ::-1]))
    assert np.abs(read_image(tmp_path / "out.jpg").pixels.astype(int) - pixels).mean() > 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_profile_exif_xmp_and_dpi_are_kept(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_image(path, ImageFile(pixels=noise(), icc=SRGB, exif=EXIF, xmp=XMP, dpi=(300.0, 150.0)))
    opened = read_image(path)
    assert opened.icc == SRGB
    assert opened.xmp == XMP
    assert opened.dpi == pytest.approx((300, 150), rel=1e-3)
    with Image.open(path) as image:
        exif = image.getexif()
        assert exif[MAKE] == "A maker"
        assert exif.get(0x0112, 1) == 1
        assert exif.get_ifd(EXIF_IFD)[DATE] == "2021:02:03 04:05:06"
    again = tmp_path / f"again{suffix}"
    write_image(again, opened)
    assert read_image(again).exif == opened.exif


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_dpi_needs_no_exif(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_image(path, ImageFile(pixels=noise(), dpi=(300.0, 150.0)))
    assert read_image(path).dpi == pytest.approx((300, 150), rel=1e-3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_made_up(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_image(path, ImageFile(pixels=noise()))
    opened = read_image(path)
    assert (opened.icc, opened.exif, opened.xmp) == (None, None, None)
    assert opened.dpi in (None, pytest.approx((72, 72), rel=1e-3))  # what readers assume anyway


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_bytes_are_always_the_same(tmp_path, suffix):
    image = ImageFile(pixels=noise(64, 64), icc=SRGB, exif=EXIF, xmp=XMP, dpi=(300.0, 300.0))
    for name in ("a", "b"):
        write_image(tmp_path / (name + suffix), image)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("carried", [{}, {"icc": SRGB, "exif": EXIF, "xmp": XMP, "dpi": (300.0, 150.0)}])
def test_in_memory_the_bytes_are_those_of_the_file(tmp_path, suffix, carried, open_files):
    image = ImageFile(pixels=noise(64, 64), **carried)
    write_image(tmp_path / f"a{suffix}", image, quality=60)
    before = open_files()
    wanted = (tmp_path / f"a{suffix}").read_bytes()
    assert encode_image(KINDS[suffix], image, quality=60) == wanted
    assert encode_image(KINDS[suffix], ImageFile(pixels=smooth(), **carried), quality=60) != wanted  # the planted fault
    assert not open_files() - before
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize(
    ("kind", "image", "word"),
    [
        ("JPEG", ImageFile(pixels=noise(dtype=np.uint16)), "result: found 16 bit for JPEG"),
        ("JPEG", ImageFile(pixels=noise(channels=2)), "transparency for JPEG"),
        ("WebP", ImageFile(pixels=noise(channels=1), icc=bytes(16) + b"GRAY"), "grey profile"),
        ("PNG", ImageFile(pixels=noise().astype(np.float32)), "float32"),
        ("TIFF", ImageFile(pixels=noise(), exif=b"II*\0broken"), "damaged EXIF"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_in_memory(kind, image, word):
    with pytest.raises(ImageError, match=word):
        encode_image(kind, image)


def test_a_format_is_refused_by_the_form_of_the_result():
    form = ImageForm(16384, 4, 3, np.dtype(np.uint8))
    check_kind("JPEG", form)
    with pytest.raises(LimitError, match="result: found 4 x 16384 pixels for WebP"):
        check_kind("WebP", form)
    with pytest.raises(LimitError, match="16 x 65536 pixels for JPEG"):
        check_kind("JPEG", form, scale=4)
    with pytest.raises(OptionError, match="found 101"):
        encode_image("JPEG", ImageFile(pixels=noise()), quality=101)


def test_no_room_in_memory_is_a_clear_error():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ImageError, match="to encode it as PNG in memory"):
            encode_image("PNG", ImageFile(pixels=noise(200, 200)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_quality_changes_the_size(tmp_path):
    sizes = []
    for quality in (30, 95):
        write_image(tmp_path / "out.jpg", ImageFile(pixels=noise(64, 64)), quality=quality)
        sizes.append((tmp_path / "out.jpg").stat().st_size)
    assert sizes[0] < sizes[1] / 2
    with pytest.raises(OptionError, match="found 0"):
        write_image(tmp_path / "out.jpg", ImageFile(pixels=noise()), quality=0)


@pytest.mark.parametrize(
    ("name", "image", "word"),
    [
        ("out.gif", ImageFile(pixels=noise()), r"\.png, \.jpg, \.jpeg, \.webp, \.tif, \.tiff"),
        ("out", ImageFile(pixels=noise()), "suffix ''"),
        ("out.jpg", ImageFile(pixels=noise(dtype=np.uint16)), "16 bit for JPEG"),
        ("out.webp", ImageFile(pixels=noise(dtype=np.uint16)), "16 bit for WebP"),
        ("out.jpg", ImageFile(pixels=noise(channels=4)), r"transparency for JPEG.*\.png"),
        ("out.jpg", ImageFile(pixels=noise(channels=2)), "transparency for JPEG"),
        ("out.webp", ImageFile(pixels=noise(channels=1), icc=bytes(16) + b"GRAY"), "grey profile"),
        ("out.png", ImageFile(pixels=noise().astype(np.float32)), "float32"),
        ("out.png", ImageFile(pixels=noise(channels=5)), "1 to 4 channels"),
        ("out.png", ImageFile(pixels=noise(height=0)), r"\(0, 30, 3\)"),
        ("out.tif", ImageFile(pixels=noise(), exif=b"II*\0broken"), "damaged EXIF"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, name, image, word):
    with pytest.raises(ImageError, match=word):
        write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


def test_a_long_side_is_refused_before_and_after_enlarging(tmp_path):
    long = ImageFile(pixels=np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(LimitError, match="at most 16383 a side"):
        write_image(tmp_path / "out.webp", long)
    check_fits(tmp_path / "out.jpg", long, scale=3)
    with pytest.raises(LimitError, match="65536 x 4 pixels for JPEG"):
        check_fits(tmp_path / "out.jpg", long, scale=4)


def test_suffixes_in_capitals(tmp_path):
    assert [check_target(f"A{suffix.upper()}") for suffix in SUFFIXES] == [
        "PNG",
        "JPEG",
        "JPEG",
        "WebP",
        "TIFF",
        "TIFF",
    ]
    write_image(tmp_path / "OUT.PNG", ImageFile(pixels=noise()))
    assert read_image(tmp_path / "OUT.PNG").pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, suffix, error):
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"what was there")
    seen = []

    def stop(vips, file, quality, keep):
        file.write(b"half of it")
        file.flush()
        seen.append(path.read_bytes())
        raise error

    monkeypatch.setattr(image_write, "SAVERS", dict.fromkeys(image_write.SAVERS, stop))
    with pytest.raises(ImageError if error is OSError else error):
        write_image(path, ImageFile(pixels=noise()))
    assert seen == [b"what was there"]  # it was going into another file
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"what was there"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_a_clear_error(tmp_path, suffix):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ImageError, match="space"):
            write_image(tmp_path / f"out{suffix}", ImageFile(pixels=noise(200, 200)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_folders_that_are_not_there(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for path in ("absent/out.png", "file/out.png", "folder.png"):
        with pytest.raises(ImageError, match="nothing was left behind"):
            write_image(tmp_path / path, ImageFile(pixels=noise()))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.png"]


def test_the_longest_name_and_the_usual_rights(tmp_path):
    path = tmp_path / ("n" * 251 + ".png")
    write_image(path, ImageFile(pixels=noise()))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_views_are_written_as_they_look(tmp_path):
    pixels = noise()[::-1, ::2, ::-1]
    write_image(tmp_path / "out.png", ImageFile(pixels=pixels))
    assert np.array_equal(read_image(tmp_path / "out.png").pixels, pixels)


def test_a_killed_write_leaves_nothing(tmp_path: Path) -> None:
    """`kill -9` while the encoder runs: the file has no name yet, so the folder stays empty."""
    code = (
        "import os, signal, numpy, sys; from pathlib import Path; from lqhq.runtime import image_write as w\n"
        "from lqhq.runtime.image_file import ImageFile\n"
        "def die(vips, file, quality, keep):\n"
        "    file.write(b'half'), file.flush(), os.kill(os.getpid(), signal.SIGKILL)\n"
        "w.SAVERS['PNG'] = die\n"
        "w.write_image(Path(sys.argv[1]) / 'x.png', ImageFile(pixels=numpy.zeros((4, 4, 3), numpy.uint8)))"
    )
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_file_systems_without_nameless_files_work_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    pixels = np.full((4, 4, 3), 7, np.uint8)
    monkeypatch.setattr(os, "open", unsupported)
    write_image(tmp_path / "x.png", ImageFile(pixels=pixels))
    monkeypatch.undo()
    assert np.array_equal(read_image(tmp_path / "x.png").pixels, pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
