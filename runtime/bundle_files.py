"""Checks a bundle's files against the manifest's list: place, kind, size and digest, in this order."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lqhq.runtime.errors import BundleError
from lqhq.runtime.manifest import FileRecord
from lqhq.runtime.verified import Verified

__all__ = ["MAX_TOTAL_BYTES", "check_digests", "check_places", "check_sizes", "is_inside", "regular_file"]

MAX_TOTAL_BYTES = 64 << 30  # the largest known model set (SD with two precisions) takes under 10 GiB
AGAIN = "Get an undamaged copy of the bundle, or export the checkpoint again."


def is_inside(name: str) -> bool:
    """Whether a manifest's path stays inside the folder: relative, no `..`, no backslash, no empty part."""
    parts = name.split("/")
    return "\\" not in name and "\0" not in name and not {"", ".", ".."} & set(parts)


def check_places(folder: Path, names: list[str]) -> None:
    """Every file is a regular file of `folder`, reached through no symbolic link, else `BundleError`."""
    for name in names:
        regular_file(folder, name)


def regular_file(folder: Path, name: str) -> os.stat_result:
    """The file's status, once every step of its path has been seen to be no link. Raises `BundleError`."""
    path = folder
    for part in PurePosixPath(name).parts:
        path = path / part
        try:
            found = path.lstat()
        except OSError as error:
            raise BundleError(
                name,
                found=f"no readable file ({error.strerror})",
                expected="a file of the bundle",
                mend=AGAIN,
            ) from error
        if stat.S_ISLNK(found.st_mode):
            raise BundleError(
                name,
                found=f"a symbolic link at {path.relative_to(folder).as_posix()!r}",
                expected="the file itself",
                mend="Copy the bundle with links followed (`cp -rL`), if you trust what they point to.",
            )
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(name, found="a folder or a device", expected="a regular file", mend=AGAIN)
    return found


def check_sizes(folder: Path, files: Mapping[str, FileRecord]) -> None:
    """Every file has its recorded size, and all together stay under the limit. Raises `BundleError`."""
    total = sum(record.bytes for record in files.values())
    if total > MAX_TOTAL_BYTES:
        raise BundleError(
            "manifest.files",
            found=f"{total} bytes in all",
            expected=f"at most {MAX_TOTAL_BYTES}",
            mend="Split the precisions into bundles of their own.",
        )
    for name, record in files.items():
        size = regular_file(folder, name).st_size
        if size != record.bytes:
            raise BundleError(name, found=f"{size} bytes", expected=f"{record.bytes} bytes", mend=AGAIN)


def check_digests(folder: Path, files: Mapping[str, FileRecord], verified: Verified) -> None:
    """Every file has its recorded SHA-256, as far as `verified` does not know it already."""
    for name, record in files.items():
        try:
            digest = verified.sha256(folder / name)
        except OSError as error:
            raise BundleError(
                name, found=f"an unreadable file ({error.strerror})", expected="a readable file", mend=AGAIN
            ) from error
        if digest != record.sha256:
            raise BundleError(
                name,
                found=f"sha256 {digest}",
                expected=f"sha256 {record.sha256}: the content changed",
                mend=AGAIN,
            )
