"""Remembers which files had which digest, so that gigabytes are hashed once and not at every start.

A file counts as known while its path, size, inode, modification time and change time are those seen when it
was hashed (`cp -p` and `touch -d` cannot set back the change time). This is a memory, not a signature: who
can write both the bundle and this file could as well change the program.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from pathlib import Path

import msgspec

__all__ = ["CACHE_FILE", "Verified", "sha256_file"]

CACHE_FILE = Path("~/.cache/lqhq/verified.json")
MAX_CACHE_BYTES = 4 << 20
MAX_ENTRIES = 4096  # the newest are kept; about 1 MB


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What was seen when a file was hashed: bytes, nanoseconds, inode, hexadecimal digest."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


class Verified:
    """The memory; `file` None remembers nothing. A damaged or unwritable file is only a lost memory."""

    def __init__(self, file: Path | None) -> None:
        self._file = _expanded(file)
        self._entries = _read(self._file)
        self._changed = False

    def sha256(self, path: Path) -> str:
        """The file's digest: remembered, or computed now. `path` is absolute. Raises `OSError`."""
        before = _seen(path, "")
        known = self._entries.get(str(path))
        if known is not None and known == msgspec.structs.replace(before, sha256=known.sha256):
            return known.sha256
        digest = sha256_file(path)
        if _seen(path, "") == before:  # else it changed while it was read
            self._entries.pop(str(path), None)  # so that it moves to the end, among the newest
            self._entries[str(path)] = msgspec.structs.replace(before, sha256=digest)
            self._changed = True
        return digest

    def save(self) -> None:
        """Write what is new, atomically. A folder that cannot be written is left as it is."""
        if self._file is None or not self._changed:
            return
        newest = dict(list(self._entries.items())[-MAX_ENTRIES:])
        part = self._file.with_name(f"{self._file.name}.{secrets.token_hex(4)}.part")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(newest))
            os.replace(part, self._file)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seen(path: Path, digest: str) -> Entry:
    found = path.stat()
    return Entry(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, digest)


def _expanded(file: Path | None) -> Path | None:
    try:
        return None if file is None else file.expanduser()
    except RuntimeError:  # no home: an account without one, as in some containers
        return None


def _read(file: Path | None) -> dict[str, Entry]:
    if file is None:
        return {}
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_CACHE_BYTES:
            return {}
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Entry])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
