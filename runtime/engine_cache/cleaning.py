"""Removes from a cache folder what is of no use any more. Only regular files under our own names, in that folder."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path

from lqhq.runtime.engine_cache.key import Here
from lqhq.runtime.engine_cache.listing import cache_folder
from lqhq.runtime.engine_cache.lock import holder_of, try_lock
from lqhq.runtime.engine_cache.lookup import look_up, outdated
from lqhq.runtime.engine_cache.names import FolderFiles, SlotFiles, read_folder
from lqhq.runtime.engine_cache.side import read_side
from lqhq.runtime.errors import EngineError
from lqhq.runtime.verified import CACHE_FILE, Verified

__all__ = ["Cleaned", "Removed", "clean_engines"]

OLD_PART_S = 3600.0  # side files are written in seconds, without a lock: a part of an hour ago is a left-over


@dataclass(frozen=True, slots=True)
class Removed:
    """A file that was removed, its bytes, and why."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a cleaning removed; `busy` says of each slot that a builder holds, by whom, and was left alone."""

    removed: tuple[Removed, ...]
    busy: tuple[str, ...]


def clean_engines(
    folder: Path, here: Here, *, everything: bool = False, bundle: str | None = None, verified: Path | None = CACHE_FILE
) -> Cleaned:
    """Remove what can never be used again here: broken, truncated, foreign and left-over files, and outdated engines.

    An engine for another GPU, or of a flavour that is not installed, stays. everything: usable engines go, too.
    bundle: the name of the only bundle whose engines are looked at. Raises `EngineError` where the folder cannot be
    read or written, `LimitError` where it holds too many files to be a cache.
    """
    folder = cache_folder(folder)
    found = read_folder(folder)
    removed: list[Removed] = []
    busy: list[str] = []
    memory = Verified(verified)
    try:
        for slot in sorted(found.slots):
            if bundle is None or found.slots[slot].bundle == bundle:
                slot_removed, holder = _clean_slot(folder, slot, found.slots[slot], here, everything, memory)
                removed += slot_removed
                busy += holder
        if bundle is None:
            _clean_sides(folder, found, here, everything, removed)
    except OSError as error:
        raise EngineError(
            str(folder),
            found=error.strerror or str(error),
            expected="a folder that may be written to",
            mend="Make it writable for your user; what was removed before this is gone.",
        ) from error
    memory.save()
    return Cleaned(tuple(removed), tuple(busy))


ODD = (errno.ELOOP, errno.EISDIR, errno.EMLINK, errno.ENXIO)  # a link, a folder, a second name, a pipe as the lock


def _clean_slot(
    folder: Path, slot: str, files: SlotFiles, here: Here, everything: bool, memory: Verified
) -> tuple[list[Removed], list[str]]:
    """What was removed, or who holds the slot."""
    lock = folder / f"{slot}.lock"
    try:
        handle = try_lock(lock)
    except OSError as error:
        if error.errno not in ODD:
            raise
        return [], [f"{slot}: its lock {lock.name} cannot be taken ({error.strerror or error})"]
    if handle is None:
        return [], [f"{slot}: held by {holder_of(lock) or 'another process'}"]
    removed = []
    try:
        # Under the lock: the record is read now, so what was listed before may have been replaced since, not broken.
        reasons = _reasons(folder, slot, files, here, everything, memory)
        for name in sorted(
            reasons, key=lambda name: not name.endswith(".json")
        ):  # records first: no engine is half gone
            size = {**files.records, **files.engines, **files.parts}[name]
            with contextlib.suppress(FileNotFoundError):
                (folder / name).unlink()
                removed.append(Removed(name, size, reasons[name]))
        if len(reasons) == len(files.records) + len(files.engines) + len(files.parts):
            lock.unlink(missing_ok=True)
    finally:
        os.close(handle)
    return removed, []


def _reasons(
    folder: Path, slot: str, files: SlotFiles, here: Here, everything: bool, memory: Verified
) -> dict[str, str]:
    """Why each file of a slot goes; those that stay are not in it."""
    reasons = dict.fromkeys(files.parts, "left by a build that did not end")
    kept: set[str] = set()
    if everything:
        why = "everything was asked for"
    else:
        found = look_up(folder, slot, memory, lambda key: outdated(key, here))
        why = found.fault or "older than the engine in use"
        if found.fault is None and found.record is not None:
            kept = {f"{slot}.json", found.record.file}
    return reasons | {name: why for name in (*files.records, *files.engines) if name not in kept}


def _clean_sides(folder: Path, found: FolderFiles, here: Here, everything: bool, removed: list[Removed]) -> None:
    for name, (flavour, version, size) in sorted(found.sides.items()):
        installed = here.versions.get(flavour, version)
        if everything:
            why = "everything was asked for"
        elif version != installed:
            why = f"of {flavour} {version}, this is {installed}"
        elif read_side(folder, name) is None:
            why = "damaged"
        else:
            continue
        (folder / name).unlink(missing_ok=True)
        removed.append(Removed(name, size, why))
    for name, size in sorted(found.side_parts.items()):
        path = folder / name
        with contextlib.suppress(FileNotFoundError):
            if everything or time.time() - path.stat().st_mtime > OLD_PART_S:
                path.unlink()
                removed.append(Removed(name, size, "left by a process that did not end"))
