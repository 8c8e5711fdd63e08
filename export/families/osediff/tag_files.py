"""The names of a tagger's classes and their thresholds: RAM keeps both as text files beside its code."""

from __future__ import annotations

import math
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from lqhq.export.foreign_text import printable
from lqhq.runtime.errors import CheckpointError

__all__ = ["TAGS", "THRESHOLDS", "TagLists", "read_tag_files", "write_tag_files"]

TAGS, THRESHOLDS = "ram_tag_list.txt", "ram_tag_list_threshold.txt"  # as RAM's repository names them
MAX_BYTES = 4 << 20
MAX_NAME = 200  # characters


@dataclass(frozen=True, slots=True)
class TagLists:
    """Names and thresholds by class index, and the two files."""

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    files: tuple[Path, Path]


def read_tag_files(ram: Path, tags: Path | None, thresholds: Path | None, count: int) -> TagLists:
    """`count` names and thresholds, one per line, of the files given, else of RAM's names beside its checkpoint.

    Raises `CheckpointError` for files that are missing, of another length, or hold what is neither.
    """
    folder = ram if ram.is_dir() else ram.parent
    tags, thresholds = tags or folder / TAGS, thresholds or folder / THRESHOLDS
    names = [line.strip() for line in _lines(tags, count)]
    for number, name in enumerate(names, 1):
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise _fault(tags, f"{printable(name)!r} in line {number}", "a name")
    values = tuple(_threshold(thresholds, number, line) for number, line in enumerate(_lines(thresholds, count), 1))
    return TagLists(tuple(names), values, (tags, thresholds))


def write_tag_files(lists: TagLists, names: Path, thresholds: Path) -> None:
    """As a bundle keeps them: UTF-8, one per line, floats that read back exactly."""
    for target, lines in ((names, lists.names), (thresholds, map(repr, lists.thresholds))):
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)


def _lines(file: Path, count: int) -> list[str]:
    try:
        if os.path.exists(file) and not os.path.isfile(file):  # reading a pipe may never end
            raise _fault(file, "no regular file", "a text file")
        if (size := file.stat().st_size) > MAX_BYTES:
            raise _fault(file, f"{size} bytes", f"at most {MAX_BYTES}")
        lines = file.read_bytes().decode("utf-8-sig").rstrip("\r\n ").split("\n")
    except UnicodeDecodeError as error:
        raise _fault(file, "bytes that are not UTF-8", "text") from error
    except OSError as error:
        raise _fault(file, error.strerror or str(error), "a text file that can be read") from error
    if len(lines) != count:
        raise _fault(file, f"{len(lines)} lines", f"{count}: one for each tag of the checkpoint")
    return lines


def _threshold(file: Path, number: int, line: str) -> float:
    try:
        value = float(line)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:  # not a number, or none
        raise _fault(file, f"{printable(line)!r} in line {number}", "a number from 0 to 1")
    return value


def _fault(file: Path, found: str, expected: str) -> CheckpointError:
    return CheckpointError(
        str(file),
        found=found,
        expected=expected,
        mend=f"Put {TAGS} and {THRESHOLDS} of RAM's repository (folder ram/data) beside its checkpoint, or name them.",
    )
