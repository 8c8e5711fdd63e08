"""The folder of a run: opened for one run at a time, new, or with the results of the same settings."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lqhq.runtime.errors import OptionError
from lqhq.runtime.synthesis.settings import Settings, read_settings, require_same, write_settings
from lqhq.runtime.synthesis.whole_file import TEMPORARY, told

__all__ = ["PREVIEW", "output_folder"]

PREVIEW = "preview.png"  # what may lie there before the first run


@contextmanager
def output_folder(out: Path, settings: Settings, *, resume: bool) -> Iterator[bool]:
    """Make `out`, or go on in it, and keep others out; gives whether there are results of before.

    Raises `OptionError` for a folder that holds anything else, results where `resume` is not set, or of other
    settings, and for one that another run writes to; `ImageError` where it cannot be written to.
    """
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(handle, out)
        found = read_settings(out)
        if found is None:
            _require_empty(out)
            write_settings(out, settings)
        elif not resume:
            raise OptionError(
                str(out),
                found="results of an earlier run",
                expected="a folder of its own for each run",
                mend="Continue it with --resume, or give another -o.",
            )
        else:
            require_same(found, settings, out)
        with told(out):
            (out / TEMPORARY).unlink(missing_ok=True)
        yield found is not None
    finally:
        os.close(handle)


def _lock(handle: int, out: Path) -> None:
    """Until `handle` is closed; a killed run leaves no lock behind."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OptionError(
            str(out), found="another run that writes there", expected="one at a time", mend="Wait for it, or stop it."
        ) from error


def _require_empty(out: Path) -> None:
    others = sorted(set(os.listdir(out)) - {PREVIEW, TEMPORARY})
    if others:
        raise OptionError(
            str(out),
            found=f"{len(others)} things that no run of `lqhq synthesize` left, such as {others[0]!r}",
            expected="a new or an empty folder",
            mend="Give another -o; nothing was changed.",
        )
