"""Files that are whole or not there: written under one temporary name of the run, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lqhq.runtime.errors import ImageError

__all__ = ["TEMPORARY", "told", "write_all", "write_whole"]

TEMPORARY = ".lqhq.part"  # in the output folder itself, where one run writes at a time: a kill leaves one at most


def write_whole(out: Path, target: Path, data: bytes) -> None:
    """Write `data` to `target`, below `out`, whose folder is made; an existing file is replaced at the very end.

    Raises `ImageError` where that fails: nothing half-written is left.
    """
    partial = out / TEMPORARY
    with told(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb", buffering=0) as file:
                write_all(file.fileno(), data)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` where the descriptor stands. Raises `OSError`; a part of it may have been written."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an `OSError` of writing `path` into an `ImageError` that says how to go on."""
    try:
        yield
    except OSError as error:
        raise ImageError(
            str(path),
            found=error.strerror or str(error),
            expected="to write there",
            mend="Make room, or make the folder one that may be written to, and go on with --resume; "
            "nothing half-written was left.",
        ) from error
