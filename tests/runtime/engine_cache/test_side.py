"""Side files: whole or not there."""

from __future__ import annotations

import os

import msgspec
import pytest

from lqhq.runtime.engine_cache import side
from lqhq.runtime.engine_cache.key import Gpu
from lqhq.runtime.engine_cache.side import kernels_name, read_side, timing_name, write_side

L4, L40 = Gpu(name="NVIDIA L4", sm="sm89"), Gpu(name="NVIDIA L40", sm="sm89")


@pytest.fixture
def told():
    return []


def test_what_was_written_is_read(tmp_path, told, full):
    name, folder = timing_name(full(), L4, "570.86"), tmp_path / "deep/engines"
    assert read_side(folder, name) is None
    for data in (b"timing", b"", b"newer timing"):
        write_side(folder, name, memoryview(data), say=told.append)
        assert read_side(folder, name) == data
    assert [path.name for path in folder.iterdir()] == [name]
    assert told == []


def test_names_tell_what_they_depend_on(cache, key, full):
    record = cache.obtain(key).record
    other = msgspec.structs.replace(record, sha256="0" * 64)
    names = [
        timing_name(full(version="11.4"), L4, "570.86"),
        timing_name(full(version="11.4"), L4, "570.87"),
        timing_name(full(version="11.4"), L4, None),
        timing_name(full(version="11.4"), L40, "570.86"),
        timing_name(full(version="11.5"), L4, "570.86"),
        kernels_name(record, L4, "570.86"),
        kernels_name(record, L4, "570.87"),
        kernels_name(record, L40, "570.86"),
        kernels_name(other, L4, "570.86"),
    ]
    assert len(set(names)) == len(names)
    assert names[0].startswith("timing.tensorrt.11.4.")
    assert names[5].startswith("kernels.tensorrt-rtx.1.7.1.116.")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def changed(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def changed_digest(path):
    data = bytearray(path.read_bytes())
    data[len(side.MAGIC)] ^= 1
    path.write_bytes(data)


def another_kind(path):
    path.write_bytes(b"x" + path.read_bytes()[1:])


def emptied(path):
    path.write_bytes(b"")


def linked(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def piped(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [truncated, changed, changed_digest, another_kind, emptied, linked, piped])
def test_damage_is_nothing(tmp_path, told, damage):
    write_side(tmp_path, "timing", b"timing", say=told.append)
    damage(tmp_path / "timing")
    assert read_side(tmp_path, "timing") is None


def test_planted_fault_without_its_digest_damage_is_taken(tmp_path, told, monkeypatch):
    monkeypatch.setattr(side, "is_whole", lambda _: True)
    with pytest.raises(AssertionError):
        test_damage_is_nothing(tmp_path, told, changed)


def test_too_much_is_not_kept(tmp_path, told, monkeypatch):
    monkeypatch.setattr(side, "MAX_SIDE_BYTES", 5)
    write_side(tmp_path, "timing", b"123456", say=told.append)
    assert told == ["timing is not kept: 6 bytes, at most 5 are"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path, told):
    (tmp_path / "file").write_text("")
    write_side(tmp_path / "file/engines", "timing", b"x", say=told.append)
    assert "cannot be written" in told[0]
    assert read_side(tmp_path / "file/engines", "timing") is None
