"""The HQ images of a run, in order, and the names of their pairs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lqhq.runtime.errors import OptionError
from lqhq.runtime.file_plan import plan_files
from lqhq.runtime.image_file import SUFFIXES

__all__ = ["Source", "find_sources", "names_digest"]


class Source(NamedTuple):
    """One HQ file: where it is, its path below the searched folder, and the name that its pairs begin with."""

    path: Path
    relative: str
    name: str

    def pair(self, index: int) -> str:
        """The name of pair `index`."""
        return f"{self.name}_{index}"


def find_sources(inputs: Sequence[str], out: Path, *, dotless: bool) -> tuple[Source, ...]:
    """The files of `inputs`, found as `plan_files` does; what lies in `out` is left out.

    A name is the relative path without its suffix; `dotless` writes `_` for dots, which end a key in a WebDataset.
    Raises `OptionError` as `plan_files` does, and where two files would have one name.
    """
    planned = plan_files(inputs, os.path.join(out, ""), SUFFIXES)
    sources, taken = [], dict[str, str]()
    for pair in planned:
        relative = pair.relative.as_posix()
        name = pair.relative.with_suffix("").as_posix()
        name = name.replace(".", "_") if dotless else name
        if name in taken:
            raise OptionError(
                "input",
                found=f"{taken[name]} and {relative}, whose pairs would all be called {name}_0 and so on",
                expected="files that differ in more than their suffix" + (" and their dots" if dotless else ""),
                mend="Rename one, or make the pairs of the folders one by one.",
            )
        taken[name] = relative
        sources.append(Source(pair.source, relative, name))
    return tuple(sources)


def names_digest(sources: Sequence[Source]) -> str:
    """The SHA-256 of all names in their order, in hexadecimal: which images a run is of, and where they stand."""
    names = "\0".join(source.relative for source in sources)
    return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
