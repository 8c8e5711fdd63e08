"""Files that are whole or not there, and their place looked at beforehand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lqhq.runtime import whole_file as module
from lqhq.runtime.errors import ImageError
from lqhq.runtime.whole_file import make_ready, whole_file, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("nameless", [True, False])
def test_a_file_takes_its_place_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool) -> None:
    if not nameless:
        monkeypatch.setattr(module.os, "O_TMPFILE", os.O_DIRECTORY)  # as file systems without them answer: EISDIR
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    with whole_file(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
        assert len(names(tmp_path)) == (1 if nameless else 2)
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["out.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_what_ends_the_block_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"old")

    def half() -> None:
        with whole_file(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        half()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.png"]


def test_write_whole_says_what_is_wrong(tmp_path: Path) -> None:
    write_whole(tmp_path / "out.png", b"bytes")
    assert (tmp_path / "out.png").read_bytes() == b"bytes"
    with pytest.raises(ImageError, match=r"none/out\.png: found No such file"):
        write_whole(tmp_path / "none" / "out.png", b"bytes")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ImageError, match="nothing was left behind"):
        write_whole(tmp_path / "folder", b"bytes")
    assert names(tmp_path) == ["folder", "out.png"]


def test_make_ready_makes_the_folder_and_finds_what_is_in_the_way(tmp_path: Path) -> None:
    make_ready(tmp_path / "a" / "b" / "out.png")
    assert names(tmp_path / "a" / "b") == []
    with pytest.raises(ImageError, match="a folder of that name"):
        make_ready(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="a file in the place of its folder"):
        make_ready(tmp_path / "file" / "out.png")
    with pytest.raises(ImageError, match="name too long"):
        make_ready(tmp_path / ("n" * 300))


def test_planted_a_plain_write_is_seen(tmp_path: Path) -> None:
    """What `whole_file` is for: a plain write that ends here has lost the old file."""
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    with target.open("wb") as file:
        file.write(b"half")
    assert target.read_bytes() == b"half"
