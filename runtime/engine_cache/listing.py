"""What a cache folder holds, and whether this machine can use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lqhq.runtime.engine_cache.key import Here
from lqhq.runtime.engine_cache.lookup import look_up, unusable
from lqhq.runtime.engine_cache.names import expanded, read_folder
from lqhq.runtime.engine_cache.record import Record
from lqhq.runtime.engine_spec import Flavour
from lqhq.runtime.errors import EngineError
from lqhq.runtime.verified import CACHE_FILE, Verified

__all__ = ["ListedEngine", "cache_folder", "flavours_in", "list_engines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEngine:
    """One slot. `record` is None where it cannot be read; `fault` says why the engine is not usable, None where it is.

    `bytes` are those of the slot's engine files, the older ones included.
    """

    slot: str
    bundle: str
    record: Record | None
    bytes: int
    fault: str | None


def list_engines(folder: Path, here: Here, *, verified: Path | None = CACHE_FILE) -> list[ListedEngine]:
    """Every slot with an engine or a record, by name. Nothing is written but what `verified` remembers.

    Raises `EngineError` where the folder cannot be read, `LimitError` where it holds too many files.
    """
    folder, memory = cache_folder(folder), Verified(verified)
    listed = []
    for slot, files in sorted(read_folder(folder).slots.items()):
        if files.engines or f"{slot}.json" in files.records:
            found = look_up(folder, slot, memory, lambda key: unusable(key, here))
            size = sum(files.engines.values())
            listed.append(
                ListedEngine(slot=slot, bundle=files.bundle, record=found.record, bytes=size, fault=found.fault)
            )
    memory.save()
    return listed


def flavours_in(folder: Path) -> set[Flavour]:
    """The flavours that have files in the folder: those whose installed versions a list of it needs."""
    found = read_folder(cache_folder(folder))
    return {files.flavour for files in found.slots.values()} | {flavour for flavour, _, _ in found.sides.values()}


def cache_folder(folder: Path) -> Path:
    """The absolute folder. Raises `EngineError` for an account without a home."""
    try:
        return expanded(folder)
    except OSError as error:
        raise EngineError(
            str(folder),
            found=error.strerror or str(error),
            expected="a folder of engines",
            mend="Name one with --cache, or set HOME.",
        ) from error
