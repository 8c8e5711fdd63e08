"""Whether a slot's engine can be used as it lies there, and why not, in one line that names both values."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lqhq.runtime.engine_cache.key import EngineKey, Here, difference, driver_of, slot_of
from lqhq.runtime.engine_cache.names import engines_of
from lqhq.runtime.engine_cache.record import BadRecordError, Record, read_record
from lqhq.runtime.verified import Verified

__all__ = ["Found", "look_up", "outdated", "record_path", "unusable"]


@dataclass(frozen=True, slots=True)
class Found:
    """A slot's record, None where it cannot be read, and why its engine is not usable, None where it is.

    `whole` says that record and file fit each other, so that only the machine or the request are others.
    """

    record: Record | None
    fault: str | None
    whole: bool


def record_path(folder: Path, slot: str) -> Path:
    """Where the record of a slot lies."""
    return folder / f"{slot}.json"


def look_up(folder: Path, slot: str, memory: Verified, compare: Callable[[EngineKey], str | None]) -> Found:
    """Check a slot: its record, then the key by `compare`, then the file. `folder` is absolute; never raises."""
    try:
        record = read_record(record_path(folder, slot))
    except BadRecordError as error:
        return Found(None, str(error), whole=False)
    if record is None:
        foreign = next(iter(engines_of(folder, slot)), None)
        told = "not built yet" if foreign is None else f"no record beside {foreign.name}: foreign"
        return Found(None, told, whole=False)
    fault = compare(record.key)
    broken = _file_fault(folder, slot, record, memory)
    return Found(record, fault or broken, whole=broken is None)


def unusable(key: EngineKey, here: Here) -> str | None:
    """Why this machine cannot use an engine, whatever is asked for; None where nothing speaks against it."""
    version = here.versions.get(key.flavour)
    if version is None:
        return f"{key.flavour} is not installed here"
    if here.gpu is not None and key.targets and here.gpu.sm not in key.targets:
        return f"for {', '.join(key.targets)}, this GPU is {here.gpu.sm}"
    wanted = msgspec.structs.replace(
        key,
        version=version,
        builder=here.builder,
        platform=here.platform,
        gpu=here.gpu if key.gpu is not None else None,
        driver=driver_of(key.flavour, here),
    )
    return difference(key, wanted)


def outdated(key: EngineKey, here: Here) -> str | None:
    """Why an engine can never be used here again: another version, driver, platform or settings; None otherwise.

    What is not known here (a flavour that is not installed, a driver without a GPU) is no reason, and neither is
    another GPU: it may be put back, or merely be hidden.
    """
    wanted = msgspec.structs.replace(
        key,
        version=here.versions.get(key.flavour, key.version),
        builder=here.builder,
        platform=here.platform,
        driver=driver_of(key.flavour, here) or key.driver,
    )
    return difference(key, wanted)


def _file_fault(folder: Path, slot: str, record: Record, memory: Verified) -> str | None:
    if slot_of(record.key) != slot:
        return "its record is one of another request, put under this name"
    path = folder / record.file
    if not record.file.startswith(f"{slot}."):
        return f"its record names {record.file}, the file of another request"
    try:
        found = os.stat(path, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            return "its engine file is a link or no file at all"
        if found.st_size != record.bytes:
            kind = "truncated" if found.st_size < record.bytes else "not what was built"
            return f"engine file has {found.st_size} bytes, its record says {record.bytes}: {kind}"
        digest = memory.sha256(path)
    except FileNotFoundError:
        return f"engine file {record.file} is missing"
    except OSError as error:
        return f"engine file cannot be read: {error.strerror or error}"
    if digest != record.sha256:
        return f"engine file has sha256 {digest[:12]}, its record says {record.sha256[:12]}: changed"
    return None
