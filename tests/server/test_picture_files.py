"""Digests and files, away from the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.errors import LqhqError
from lqhq.runtime.image_file import read_image_bytes
from lqhq.server.picture_files import QUICK, PictureFiles


def run(call: Callable[[PictureFiles], Coroutine[Any, Any, Any]]) -> Any:
    with ThreadPoolExecutor(1, "quick") as quick, ThreadPoolExecutor(1, "slow") as slow:
        return asyncio.run(call(PictureFiles(quick, slow)))


@pytest.mark.parametrize("size", [0, 10, 1 << 16, (1 << 16) + 1])
def test_digests(size: int) -> None:
    data = bytes(size)
    assert run(lambda files: files.sha256(data)) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("size", "pool"), [(0, "quick"), (QUICK, "quick"), (QUICK + 1, "slow")])
def test_what_is_small_does_not_wait_behind_the_rest(size: int, pool: str) -> None:
    assert run(lambda files: files.run(lambda: threading.current_thread().name, size)).startswith(pool)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("form", ["png", "tiff"])
def test_files_are_lossless(dtype: Any, form: Any) -> None:
    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (5, 6, 3), dtype, endpoint=True)
    file = run(lambda files: files.encoded(pixels, form))
    np.testing.assert_array_equal(read_image_bytes(file, name="file").pixels, pixels)


def test_quality_counts() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    small, large = (run(lambda files, q=q: files.encoded(pixels, "jpeg", quality=q)) for q in (10, 95))
    assert len(small) < len(large) / 2


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(LqhqError):
        run(lambda files: files.encoded(np.zeros((4, 4, 4), np.uint8), "jpeg"))
