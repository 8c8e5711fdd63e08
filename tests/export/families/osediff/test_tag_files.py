"""Tag names and thresholds: found or given, as many as the checkpoint has, and written to be read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lqhq.export.families.osediff.tag_files import read_tag_files, write_tag_files
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.tags import Tags

NAMES, NUMBERS = "ram_tag_list.txt", "ram_tag_list_threshold.txt"


@pytest.fixture
def ram(tmp_path: Path) -> Path:
    (tmp_path / NAMES).write_text("3D CG rendering\nabacus \r\nabalone\n")
    (tmp_path / NUMBERS).write_text("0.65\n0.7\n1\n")
    return tmp_path / "ram.pth"


def test_found_beside_the_checkpoint(ram: Path) -> None:
    lists = read_tag_files(ram, None, None, 3)
    assert lists.names == ("3D CG rendering", "abacus", "abalone")
    assert lists.thresholds == (0.65, 0.7, 1.0)
    assert [file.name for file in lists.files] == [NAMES, NUMBERS]


def test_given_ones_go_first(ram: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("cat\ndog\nemu")
    assert read_tag_files(ram, tmp_path / "mine.txt", None, 3).names == ("cat", "dog", "emu")


def test_the_runtime_reads_what_is_written(ram: Path, tmp_path: Path) -> None:
    lists = read_tag_files(ram, None, None, 3)
    write_tag_files(lists, tmp_path / "tags.txt", tmp_path / "tag_thresholds.txt")
    tags = Tags.read(tmp_path / "tags.txt", tmp_path / "tag_thresholds.txt")
    assert tags.names == lists.names
    assert tags.thresholds.tolist() == np.float32([0.65, 0.7, 1]).tolist()
    assert (tmp_path / "tag_thresholds.txt").read_text() == "0.65\n0.7\n1.0\n"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (NAMES, "a\nb\n"),
        (NAMES, "a\nb\nc\nd\n"),
        (NAMES, "a\n \nc\n"),
        (NAMES, "a\nb\x1b[2J\nc\n"),
        (NAMES, f"a\n{'b' * 201}\nc\n"),
        (NUMBERS, "0.5\n0.5\n1.01\n"),
        (NUMBERS, "0.5\n0.5\nnan\n"),
        (NUMBERS, "0.5\n0.5\n-0.1\n"),
        (NUMBERS, "0.5\n0.5\nhalf\n"),
        (NUMBERS, "0.5\n0.5\n"),
    ],
)
def test_wrong_lists_are_refused(ram: Path, file: str, content: str) -> None:
    (ram.parent / file).write_text(content)
    with pytest.raises(CheckpointError, match=file):
        read_tag_files(ram, None, None, 3)


def test_missing_lists_are_named(ram: Path) -> None:
    (ram.parent / NUMBERS).unlink()
    with pytest.raises(CheckpointError, match=r"ram_tag_list_threshold\.txt.*ram/data"):
        read_tag_files(ram, None, None, 3)


def test_not_text_is_refused(ram: Path) -> None:
    (ram.parent / NAMES).write_bytes(b"\xff\xfe\n\n\n")
    with pytest.raises(CheckpointError, match="UTF-8"):
        read_tag_files(ram, None, None, 3)
