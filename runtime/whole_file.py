"""Files that are whole or not there at all, and a look at their place before the work is done."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lqhq.runtime.errors import ImageError

__all__ = ["cannot_write", "make_ready", "whole_file", "write_whole"]


def write_whole(target: Path, data: bytes) -> None:
    """Write `data`; an existing file is replaced at the very end. Raises `ImageError`: then nothing was left."""
    try:
        with whole_file(target) as file:
            file.write(data)
    except OSError as error:
        raise cannot_write(target, error.strerror or str(error)) from error


def cannot_write(target: Path, found: str) -> ImageError:
    """The error that says that `target` was not written, and that nothing was left."""
    return ImageError(
        str(target),
        found=found,
        expected="to write a file there",
        mend="Check that the folder exists, may be written to and has space; nothing was left behind.",
    )


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `target` where the block ends well; else nothing is left of it.

    Where the file system has files without a name, it gets one at the end alone: not even a killed process leaves it
    behind. Raises `OSError`.
    """
    # Short and of our own making: the target's name may already be as long as names may be.
    partial = target.with_name(f".lqhq-{secrets.token_hex(8)}.part")
    try:
        with _open_nameless(partial) as file:
            yield file
            file.flush()
            if not partial.exists():
                _name(file, partial)
        partial.replace(target)
    finally:  # after the replacement there is nothing to remove; an error or an interrupt leaves a part
        partial.unlink(missing_ok=True)


def _open_nameless(partial: Path) -> BinaryIO:
    try:
        return open(os.open(partial.parent, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            raise
        return partial.open("x+b")


def _name(file: BinaryIO, path: Path) -> None:
    # With a folder's descriptor Python calls linkat(AT_SYMLINK_FOLLOW); plain os.link would link the symbolic link.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.link(f"/proc/self/fd/{file.fileno()}", path.name, dst_dir_fd=folder)
    finally:
        os.close(folder)


def make_ready(target: Path) -> None:
    """Make the target's folder and try to write there, before the work. Raises `ImageError` where that fails."""
    found = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
        # Any error but this one, such as a name too long, would meet the finished result.
        with suppress(FileNotFoundError):
            found = "a folder of that name" if stat.S_ISDIR(os.lstat(target).st_mode) else None
    except (FileExistsError, NotADirectoryError):
        found = "a file in the place of its folder"
    except OSError as error:
        found = error.strerror or str(error)
    if found is not None:
        raise ImageError(
            str(target),
            found=found,
            expected="to write a file there",
            mend="Give another -o, or make its folder one that may be written to.",
        )
