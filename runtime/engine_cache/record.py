"""What is written beside an engine: its key, its bytes and digest, and what was learnt when it was built."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from lqhq.runtime.engine_cache.key import EngineKey
from lqhq.runtime.engine_spec import State
from lqhq.runtime.manifest import Digest
from lqhq.runtime.precision import Plan

__all__ = ["SCHEMA", "BadRecordError", "Built", "Record", "read_plain", "read_record"]

SCHEMA = 1
MAX_RECORD_BYTES = 1 << 20  # one of 16 profiles and 16 targets takes 4 kB
FileName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,160}\.[0-9a-f]{16}\.engine$")]


class Built(Protocol):
    """What a builder returns. `data` is the engine's bytes; `seconds` is how long the build took."""

    @property
    def data(self) -> memoryview: ...
    @property
    def flavour(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def parsed(self) -> Plan: ...
    @property
    def state(self) -> State: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def seconds(self) -> float: ...


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One built engine. `file` lies beside the record; `parsed` is what the parsed network holds."""

    schema: Literal[1] = 1
    key: EngineKey
    file: FileName
    bytes: Annotated[int, Meta(ge=1, le=1 << 50)]
    sha256: Digest
    parsed: Plan
    state: State
    notes: tuple[str, ...] = ()
    seconds: Annotated[float, Meta(ge=0)]
    built: Annotated[datetime, Meta(tz=True)]


class BadRecordError(Exception):
    """A record that cannot be used; the text says why. Never leaves the cache."""


def read_record(path: Path) -> Record | None:
    """The record at `path`, None where there is nothing. Raises `BadRecordError` for anything else."""
    try:
        data = read_plain(path, MAX_RECORD_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadRecordError(f"its record cannot be read: {error.strerror or error}") from error
    try:
        loose = msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise BadRecordError("its record is not JSON: damaged") from error
    schema = loose.get("schema") if isinstance(loose, Mapping) else None
    if schema != SCHEMA or isinstance(schema, bool):
        raise BadRecordError(f"its record has schema {_shown(schema)}, this reads {SCHEMA}")
    try:
        return msgspec.json.decode(data, type=Record)
    except (ValueError, RecursionError) as error:
        raise BadRecordError(f"its record is not one of ours: {_shown(error)}") from error


def read_plain(path: Path, limit: int) -> bytes:
    """A regular file's bytes, at most `limit`. Raises `OSError` for a link, a device, a pipe or more bytes."""
    # O_NONBLOCK: a pipe planted under the name would wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(None, "it is not a regular file")
        if found.st_size > limit:
            raise OSError(None, f"it has {found.st_size} bytes, at most {limit} are read")
        return file.read(limit)


def _shown(value: object) -> str:
    """Text from a file that anybody may have written: short, printable ASCII."""
    return ascii(str(value))[1:-1][:200]
