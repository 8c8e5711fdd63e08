"""The cache itself: an engine that is there and fits, or why it does not and a new one.

An engine is written under a name of its own content, then its record is renamed into place: that is the moment at which
it exists. The engine that it replaces stays, with its record, until `confirm` says that the new one loads; `reject`
brings it back. This code never opens an engine: building comes from the caller.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lqhq.runtime.engine_cache.key import EngineKey, difference, slot_of
from lqhq.runtime.engine_cache.lock import slot_lock, try_lock
from lqhq.runtime.engine_cache.lookup import Found, look_up, record_path
from lqhq.runtime.engine_cache.names import engine_name, engines_of, expanded, write_whole
from lqhq.runtime.engine_cache.record import BadRecordError, Built, Record, read_record
from lqhq.runtime.errors import EngineError
from lqhq.runtime.verified import CACHE_FILE, Verified

__all__ = ["CachedEngine", "confirm", "obtain", "reject"]

MAX_NOTES, MAX_NOTE = 64, 1000  # so that no builder's notes make a record that is too large to read
MAX_COVERING = 64  # records of one graph that are read in search of one with more targets
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedEngine:
    """An engine that may be opened. `fresh`: it was built just now, by us.

    `path` is None where the cache could not be written: the engine is then only in `data`.
    """

    record: Record
    path: Path | None
    fresh: bool
    data: memoryview | None = None

    def read(self) -> memoryview:
        """The engine's bytes, mapped and not copied: they stay though the file be replaced meanwhile.

        Raises `EngineError` where another process removed the file since it was found.
        """
        if self.data is not None:
            return self.data
        try:
            if self.path is None:
                raise FileNotFoundError("it is neither kept nor in memory")
            with self.path.open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise EngineError(
                str(self.path),
                found=str(error),
                expected="the engine that was there a moment ago",
                mend="Another process replaced or cleaned it; start again, and it is built anew.",
            ) from error


def obtain(
    key: EngineKey,
    build: Callable[[], Built],
    *,
    folder: Path,
    say: Say,
    cancel: Callable[[], bool] | None = None,
    verified: Path | None = CACHE_FILE,
) -> CachedEngine:
    """The engine of `key`: from the cache, or built by `build` and kept there; `say` is told why it had to be built.

    One process builds a slot at a time; the others wait, and find it finished. A cache that cannot be written is said
    and no failure: a build of minutes is not thrown away, the engine is then used from memory.
    verified: where checked digests are remembered; None hashes the engine every time.
    Raises `CancelledError` when `cancel` says stop while waiting, and whatever `build` raises.
    """
    try:
        folder = expanded(folder)
    except OSError as error:
        say(f"{key}: the cache cannot be used ({error.strerror}); the engine will not be kept")
        return _in_memory(key, _build(key, build))
    slot = slot_of(key)
    found = _find(folder, slot, key, verified, say)
    if ready := _ready(folder, found):
        return ready
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(folder, slot, key, say, cancel))
        except OSError as error:
            say(f"{key}: {found.fault}")
            say(f"{key}: {folder} cannot be written ({error.strerror or error}); the engine will not be kept")
            return _in_memory(key, _build(key, build))
        found = _find(folder, slot, key, verified, say)  # again: another process may have built it while we waited
        if ready := _ready(folder, found):
            say(f"{key}: ready, another process built it")
            return ready
        say(f"{key}: {found.fault}; building")
        built = _build(key, build)
        try:
            record = _store(folder, slot, key, built)
        except OSError as error:
            say(f"{key}: {folder} cannot be written ({error.strerror or error}); the engine is not kept")
            return _in_memory(key, built)
        _find(folder, slot, key, verified, say)  # reads the engine back, and remembers its digest for the next start
        return CachedEngine(record=record, path=folder / record.file, fresh=True)


def confirm(engine: CachedEngine) -> None:
    """Say that the engine loads: older ones of its slot are removed. Skipped while another process holds the slot."""
    with _if_current(engine) as slot:
        if slot is None or engine.path is None:
            return
        folder = engine.path.parent
        with contextlib.suppress(OSError):
            (folder / f"{slot}.old.json").unlink(missing_ok=True)
            for path in engines_of(folder, slot):
                if path.name != engine.record.file and not path.is_symlink():
                    path.unlink()


def reject(engine: CachedEngine) -> None:
    """Say that the engine does not load: it is removed, and the one before it comes back. The next `obtain` looks anew.

    Skipped while another process holds the slot: it is about to replace the engine anyway.
    """
    with _if_current(engine) as slot:
        if slot is None or engine.path is None:
            return
        folder = engine.path.parent
        with contextlib.suppress(OSError):
            try:
                os.replace(folder / f"{slot}.old.json", record_path(folder, slot))
            except FileNotFoundError:
                record_path(folder, slot).unlink(missing_ok=True)
            engine.path.unlink(missing_ok=True)


def _find(folder: Path, slot: str, key: EngineKey, verified: Path | None, say: Say) -> Found:
    """The engine of the slot; where it is not usable, one that was built for more targets than are asked for."""
    memory = Verified(verified)
    found = look_up(folder, slot, memory, lambda have: difference(have, key))
    if found.fault is not None and key.targets:
        wider = _covering(folder, key, memory)
        if wider is not None and wider.record is not None:
            say(f"{key}: {found.fault}; the one for {', '.join(wider.record.key.targets)} will do")
            found = wider
    memory.save()
    return found


def _ready(folder: Path, found: Found) -> CachedEngine | None:
    if found.record is None or found.fault is not None:
        return None
    return CachedEngine(record=found.record, path=folder / found.record.file, fresh=False)


def _covering(folder: Path, key: EngineKey, memory: Verified) -> Found | None:
    def compare(have: EngineKey) -> str | None:
        if not set(key.targets) <= set(have.targets):
            return "for fewer targets"
        return difference(msgspec.structs.replace(have, targets=key.targets), key)

    stem = slot_of(key).rpartition(".")[0]
    for path in sorted(folder.glob(f"{stem}.*.json"))[:MAX_COVERING]:
        found = look_up(folder, path.name.removesuffix(".json"), memory, compare)
        if found.fault is None:
            return found
    return None


@contextlib.contextmanager
def _locked(folder: Path, slot: str, key: EngineKey, say: Say, cancel: Callable[[], bool] | None) -> Iterator[None]:
    with slot_lock(folder / f"{slot}.lock", say=lambda line: say(f"{key}: {line}"), cancel=cancel):
        yield


@contextlib.contextmanager
def _if_current(engine: CachedEngine) -> Iterator[str | None]:
    """The slot's name, with its lock held, while `engine` is what its record names; None otherwise."""
    if engine.path is None:
        yield None
        return
    slot = slot_of(engine.record.key)
    try:
        handle = try_lock(engine.path.with_name(f"{slot}.lock"))
    except OSError:  # a cache that we may read only: nothing is ours to remove
        handle = None
    if handle is None:
        yield None
        return
    try:
        try:
            current = read_record(record_path(engine.path.parent, slot))
        except BadRecordError:
            current = None
        yield slot if current == engine.record else None
    finally:
        os.close(handle)


def _build(key: EngineKey, build: Callable[[], Built]) -> Built:
    """Build, and refuse what would be stored under a key that is not its own."""
    built = build()
    if (built.flavour, built.version) != (key.flavour, key.version) or built.data.nbytes == 0:
        raise EngineError(
            str(key),
            found=f"{built.data.nbytes} bytes by {built.flavour} {built.version}",
            expected=f"an engine by {key.flavour} {key.version}",
            mend="Nothing was stored. Start again: the installed version may have changed meanwhile.",
        )
    return built


def _record(key: EngineKey, built: Built, slot: str) -> Record:
    sha256 = hashlib.sha256(built.data).hexdigest()
    return Record(
        key=key,
        file=engine_name(slot, sha256),
        bytes=built.data.nbytes,
        sha256=sha256,
        parsed=built.parsed,
        state=built.state,
        notes=tuple(note[:MAX_NOTE] for note in built.notes[:MAX_NOTES]),
        seconds=max(0.0, built.seconds),
        built=datetime.now(UTC),
    )


def _in_memory(key: EngineKey, built: Built) -> CachedEngine:
    return CachedEngine(record=_record(key, built, slot_of(key)), path=None, fresh=True, data=built.data)


def _store(folder: Path, slot: str, key: EngineKey, built: Built) -> Record:
    """Engine first, then the record that is now replaced under a name of its own, then the new record."""
    record = _record(key, built, slot)
    write_whole(folder / record.file, built.data, slot)
    path = record_path(folder, slot)
    try:
        old = read_record(path)
    except BadRecordError:
        old = None
    if old is not None and old.file != record.file:
        write_whole(folder / f"{slot}.old.json", msgspec.json.encode(old), slot)
    write_whole(path, msgspec.json.format(msgspec.json.encode(record), indent=1), slot)
    return record
