"""Where bundles are: those named on the command line, and those of one folder, which is never left."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lqhq.runtime.errors import BundleError, OptionError
from lqhq.server.v2.errors import UnknownModelError

__all__ = ["Listing", "Place", "Repository"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NUMBER = re.compile(r"[1-9][0-9]{0,18}")
MAX_VERSION = 2**63 - 1
MANIFEST = "manifest.json"
DEMO = "demo"  # the bundle that ships with lqhq
MOST = 10_000  # entries of a folder that are looked at


class Place(NamedTuple):
    """What `open_bundle` takes, and the version that the folder's name says, None where it says none.

    `root` is the folder that it must lie in, None for what the command line names.
    """

    name: str
    source: str
    number: int | None
    root: Path | None

    def check(self) -> None:
        """Raise `BundleError` for a place that a link leads out of the folder."""
        if self.root is not None and not Path(self.source).resolve().is_relative_to(self.root.resolve()):
            raise BundleError(
                self.name,
                found="a link that leaves the model folder",
                expected="a folder inside it",
                mend="Copy the bundle, or name it on the command line.",
            )


class Listing(NamedTuple):
    """Names of models on the command line and in the folder, and names in the folder that no model can have."""

    named: tuple[str, ...]
    found: tuple[str, ...]
    odd: tuple[str, ...]


class Repository:
    """`bundles` are `NAME=PATH` or `PATH`; `folder` holds `<name>/manifest.json` or `<name>/<number>/manifest.json`.

    A bundle of the command line hides one of its name in the folder. Raises `OptionError` for what names no bundle, or
    one name twice. Reads the disk, so call it off the event loop.
    """

    def __init__(self, bundles: Sequence[str], folder: Path | None) -> None:
        self._named: dict[str, str] = {}
        for text in bundles:
            name, path = _split(text)
            if name in self._named:
                raise _wrong(text, f"the name {name!r} twice", "Give one of them another name: NAME=PATH.")
            self._named[name] = path
        self._folder = folder
        if folder is not None and not folder.is_dir():
            raise OptionError(
                "model_dir",
                found="a file" if folder.exists() else "nothing there",
                expected="a folder of bundles",
                mend="Check the path.",
            )

    def listed(self) -> Listing:
        """What there is now, in order. Raises `BundleError` where it cannot be read."""
        found = sorted(self._folders())
        names = [name for name in found if NAME.fullmatch(name) and name not in self._named]
        odd = [name for name in found if not NAME.fullmatch(name)]
        return Listing(tuple(self._named), tuple(names), tuple(odd))

    def find(self, name: str) -> Place:
        """Where `name` is now. Raises `UnknownModelError`."""
        if name in self._named:
            return Place(name, self._named[name], None, None)
        # The name comes from a caller: only one that the folder itself has is looked at.
        if self._folder is None or not NAME.fullmatch(name) or not (self._folder / name).is_dir():
            raise UnknownModelError(
                "model",
                found=repr(name[:80]),
                expected="a bundle of the server's command line, or of its model folder",
                mend="Put the bundle there first.",
            )
        folder = self._folder / name
        number = None if (folder / MANIFEST).exists() else _newest(folder)
        place = folder if number is None else folder / str(number)
        return Place(name, str(place), number, self._folder)

    def _folders(self) -> list[str]:
        if self._folder is None:
            return []
        try:
            with os.scandir(self._folder) as entries:
                return [entry.name for entry, _ in zip(entries, range(MOST), strict=False) if _is_model(entry)]
        except OSError as error:
            raise BundleError(
                "model_dir",
                found=error.strerror or str(error),
                expected="a folder that can be read",
                mend="Check its permissions.",
            ) from error


def _is_model(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir()


def _newest(folder: Path) -> int | None:
    """The highest version with a manifest: one without is being copied."""
    try:
        names = [name for name in os.listdir(folder) if NUMBER.fullmatch(name) and int(name) <= MAX_VERSION]
    except OSError:
        return None  # what is wrong with the folder, `open_bundle` says
    return max((int(name) for name in names if (folder / name / MANIFEST).is_file()), default=None)


def _split(text: str) -> tuple[str, str]:
    """Name and path. A path with an equals sign before its end needs a name."""
    name, equals, path = text.partition("=")
    if not equals:
        path = text
        name = DEMO if path == DEMO else Path(path).resolve().name
    if not path:
        raise _wrong(text, "no path", "Give NAME=PATH or PATH.")
    if not NAME.fullmatch(name):
        raise _wrong(text, f"the name {name[:80]!r}", "Give NAME=PATH, with letters, digits and ._- in the name.")
    return name, path


def _wrong(text: str, found: str, mend: str) -> OptionError:
    return OptionError(f"bundle {text[:200]!r}", found=found, expected="NAME=PATH or PATH", mend=mend)
