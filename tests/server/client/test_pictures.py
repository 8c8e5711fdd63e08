"""Paths, bytes and arrays into the bytes of a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError
from lqhq.server.client.pictures import array_of, file_bytes

SEED = 20261123


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_travel_without_loss(dtype: type, channels: int) -> None:
    image = np.random.default_rng(SEED).integers(0, np.iinfo(dtype).max, (5, 7, channels), dtype)
    back = array_of(file_bytes(image, "image"))
    assert back.dtype == dtype
    assert np.array_equal(back, image)


def test_masks_may_be_flat_and_bools() -> None:
    hole = np.array([[True, False], [False, True]])
    assert np.array_equal(array_of(file_bytes(hole, "mask"))[:, :, 0], hole * 255)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
    ids=["float", "channels", "empty", "flat"],
)
def test_arrays_that_no_png_holds(wrong: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"image: found .*uint8 or uint16"):
        file_bytes(wrong, "image")


def test_bytes_and_paths(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    for picture in (path, str(path), b"content", bytearray(b"content"), memoryview(b"content")):
        assert file_bytes(picture, "image") == b"content"
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png: found nothing"):
        file_bytes(tmp_path / "empty.png", "image")
    with pytest.raises(ImageError, match="No such file"):
        file_bytes(tmp_path / "none.png", "image")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="a pipe or a device"):
        file_bytes(tmp_path / "pipe", "image")


def test_what_is_no_image() -> None:
    with pytest.raises(ImageError, match="result: found content"):
        array_of(b"not an image")


CHILD = """
import sys
import lqhq.server.client
heavy = ("onnxruntime", "pyvips", "torch", "lqhq.server.restoring", "lqhq.server.models", "lqhq.server.workers")
print([name for name in heavy if name in sys.modules])
"""


def test_the_client_alone_is_light() -> None:
    ran = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
