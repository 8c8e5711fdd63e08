"""Canvases on disk: what is written is read, nothing stays, and a full disk is told clearly."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.errors import EngineError, LimitError
from lqhq.runtime.geometry import Size
from lqhq.runtime.scratch import FileCanvas, ScratchFolder
from lqhq.runtime.segment_canvas import Canvas, HeldCanvas, canvas_bytes

SEED = 5_002
SIZE = Size(5, 7)


@pytest.fixture(params=["memory", "file"])
def canvas(request: pytest.FixtureRequest, tmp_path: Path) -> Canvas:
    return HeldCanvas(3, SIZE) if request.param == "memory" else ScratchFolder(tmp_path)(3, SIZE)


def values() -> Any:
    return np.random.default_rng(SEED).standard_normal((3, 35), np.float32)


def test_spans_are_read_as_written(canvas: Canvas) -> None:
    wanted = values()
    for start, stop in ((14, 35), (0, 3), (3, 14)):
        canvas.write(start, wanted[:, start:stop])
    np.testing.assert_array_equal(canvas.read(0, 35), wanted)
    part = canvas.read(2, 30, slice(1, 3))
    np.testing.assert_array_equal(part, wanted[1:, 2:30])
    assert part.flags.c_contiguous
    assert part.dtype == np.float32
    canvas.close()
    canvas.close()


def test_written_whole(canvas: Canvas) -> None:
    canvas.write(0, values())
    np.testing.assert_array_equal(canvas.read(7, 14), values()[:, 7:14])
    canvas.close()


def test_copies_lie_in_the_room_that_is_given(canvas: Canvas) -> None:
    wanted, room = values(), np.zeros(100, np.float32)
    for start, stop in ((0, 3), (3, 35)):
        canvas.write(start, wanted[:, start:stop])
    part = canvas.read(1, 30, slice(0, 2), lambda count: room[:count])
    assert np.shares_memory(part, room)
    np.testing.assert_array_equal(part, wanted[:2, 1:30])
    assert not room[58:].any()
    canvas.close()


def test_short_transfers_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may move less than was asked for."""
    canvas, whole = ScratchFolder(tmp_path)(3, SIZE), (os.preadv, os.pwritev)
    monkeypatch.setattr(os, "preadv", lambda fd, parts, at: whole[0](fd, [parts[0][:5]], at))
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, at: whole[1](fd, [parts[0][:5]], at))
    canvas.write(0, values())
    np.testing.assert_array_equal(canvas.read(0, 35), values())
    canvas.close()


def test_nothing_has_a_name(tmp_path: Path) -> None:
    canvas = ScratchFolder(tmp_path)(3, SIZE)
    canvas.write(0, values())
    assert list(tmp_path.iterdir()) == []
    canvas.close()


def test_a_dropped_canvas_is_closed(tmp_path: Path, open_files: Callable[[], frozenset[Any]]) -> None:
    """A job that is cancelled is simply let go of."""
    before = open_files()
    canvas: FileCanvas | None = ScratchFolder(tmp_path)(3, SIZE)
    assert len(open_files() - before) == 1
    del canvas
    gc.collect()
    assert not open_files() - before


def test_the_default_folder_is_the_system_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(EngineError, match="absent"):
        ScratchFolder()(3, SIZE)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="scratch file: found No such file"):
        ScratchFolder(tmp_path / "absent")(3, SIZE)


@pytest.mark.parametrize("call", ["posix_fallocate", "pwritev"])
def test_a_full_disk_is_told(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_files: Callable[[], frozenset[Any]]
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = open_files()
    monkeypatch.setattr(os, call, full)
    with pytest.raises(LimitError, match="No space left on device for 420 bytes"):
        ScratchFolder(tmp_path)(3, SIZE).write(0, values())
    gc.collect()
    assert not open_files() - before
    assert list(tmp_path.iterdir()) == []


def test_a_short_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = ScratchFolder(tmp_path)(3, SIZE)
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    with pytest.raises(EngineError, match="shorter than it was made"):
        canvas.read(0, 35)
    canvas.close()


def test_bytes() -> None:
    assert canvas_bytes(3, SIZE) == 3 * 35 * 4
