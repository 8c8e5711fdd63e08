"""Whole or not there, on a full disk, too."""

from __future__ import annotations

import os

import pytest

from lqhq.runtime.errors import ImageError
from lqhq.runtime.synthesis.whole_file import write_all, write_whole


def test_it_replaces_and_makes_folders(tmp_path):
    for data in (b"one", b"two" * 100_000):
        write_whole(tmp_path, tmp_path / "a/b/c", data)
        assert (tmp_path / "a/b/c").read_bytes() == data
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c"]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, full_disk):
    write_whole(tmp_path, tmp_path / "x", b"before")
    full_disk(3)
    with pytest.raises(ImageError, match=r"No space left on device.*--resume"):
        write_whole(tmp_path, tmp_path / "x", b"after that")
    monkeypatch.undo()
    assert (tmp_path / "x").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["x"]


def test_short_writes_go_on(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:2]))
    with (tmp_path / "x").open("wb", buffering=0) as file:
        write_all(file.fileno(), b"12345")
    assert (tmp_path / "x").read_bytes() == b"12345"


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(ImageError, match="expected to write there"):
        write_whole(tmp_path, tmp_path / "a/x", b"")
