"""The names of the files of a cache folder. Whatever is named otherwise is not ours, and is never touched."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from lqhq.runtime.engine_spec import Flavour
from lqhq.runtime.errors import EngineError, LimitError
from lqhq.runtime.manifest import Role
from lqhq.runtime.precision import Precision

__all__ = [
    "ENGINES_FOLDER",
    "FolderFiles",
    "SlotFiles",
    "engine_name",
    "engines_of",
    "expanded",
    "read_folder",
    "write_whole",
]

ENGINES_FOLDER = Path("~/.cache/lqhq/engines")
MAX_FILES = 20_000  # of a folder that is listed; 16 profiles of 100 bundles are far below

FLAVOUR = r"(?:tensorrt-rtx|tensorrt)"
ROLES, PRECISIONS = "|".join(get_args(Role)), "|".join(get_args(Precision))
SLOT = (
    rf"(?P<bundle>[a-z0-9][a-z0-9_.-]{{0,63}})\.(?:{ROLES})\.(?:{PRECISIONS})"
    rf"\.(?P<built_by>{FLAVOUR})\.[0-9a-f]{{16}}"
)
SIDE = (
    rf"(?:timing|kernels)\.(?P<flavour>{FLAVOUR})\.(?P<version>[0-9A-Za-z][0-9A-Za-z.+_-]{{0,63}})"
    r"\.[0-9a-f]{16}\.side"
)
OURS = re.compile(
    rf"(?P<slot>{SLOT})(?P<kind>\.json|\.old\.json|\.lock|\.[0-9a-f]{{16}}\.engine|\.[0-9a-f]{{8}}\.part)"
    rf"|(?P<side>{SIDE})(?P<left>\.[0-9a-f]{{8}}\.part)?"
)


def engine_name(slot: str, sha256: str) -> str:
    """An engine's own name, by its content: a new engine never overwrites one that is in use."""
    return f"{slot}.{sha256[:16]}.engine"


def engines_of(folder: Path, slot: str) -> list[Path]:
    """Files in `folder` that are named as engines of `slot`, sorted; what is named otherwise is not ours."""
    found = ((path, OURS.fullmatch(path.name)) for path in sorted(folder.glob(f"{slot}.*.engine")))
    return [path for path, match in found if match and match["slot"] == slot]


def expanded(folder: Path) -> Path:
    """The folder as an absolute path. Raises `OSError` for an account without a home, as in some containers."""
    try:
        return folder.expanduser().absolute()
    except RuntimeError as error:
        raise OSError(None, "there is no home folder") from error


def write_whole(target: Path, data: bytes | memoryview, stem: str) -> None:
    """Write `target` in one step, through a part named after `stem`, its slot. Raises `OSError`; no part is left then.

    Nothing is forced to the disk: after a loss of power a digest does not fit, and the engine is built again.
    """
    part = target.with_name(f"{stem}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


@dataclass(slots=True)
class SlotFiles:
    """The files of one slot by kind; sizes in bytes by name."""

    bundle: str
    flavour: Flavour
    engines: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class FolderFiles:
    """The files of a cache folder: those of slots, and side files as (flavour, version, bytes), parts of such apart."""

    slots: dict[str, SlotFiles] = field(default_factory=dict)
    sides: dict[str, tuple[Flavour, str, int]] = field(default_factory=dict)
    side_parts: dict[str, int] = field(default_factory=dict)


def read_folder(folder: Path) -> FolderFiles:
    """What lies in the folder under our names; links, folders and other names are passed over.

    Raises `EngineError` where the folder cannot be read, `LimitError` where it holds too many files to be a cache.
    """
    found = FolderFiles()
    for match, size in _ours(folder):
        name = match[0]
        if match["side"] is not None:
            if match["left"] is None:
                found.sides[name] = (_flavour(match["flavour"]), match["version"], size)
            else:
                found.side_parts[name] = size
            continue
        slot = found.slots.setdefault(match["slot"], SlotFiles(match["bundle"], _flavour(match["built_by"])))
        kind = match["kind"]
        if kind.endswith(".engine"):
            slot.engines[name] = size
        elif kind.endswith(".part"):
            slot.parts[name] = size
        elif kind.endswith(".json"):
            slot.records[name] = size
    return found


def _flavour(text: str) -> Flavour:
    return "tensorrt-rtx" if text == "tensorrt-rtx" else "tensorrt"


def _ours(folder: Path) -> Iterator[tuple[re.Match[str], int]]:
    try:
        with os.scandir(folder) as entries:
            for index, entry in enumerate(entries):
                if index == MAX_FILES:
                    raise LimitError(
                        str(folder),
                        found=f"more than {MAX_FILES} files",
                        expected="a folder of engines",
                        mend="Name the cache folder with --cache; if this is it, remove it yourself.",
                    )
                match = OURS.fullmatch(entry.name)
                if match is not None and entry.is_file(follow_symlinks=False):
                    yield match, entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return
    except OSError as error:
        raise EngineError(
            str(folder),
            found=error.strerror or str(error),
            expected="a folder of engines",
            mend="Name another one with --cache, or make it readable for your user.",
        ) from error
