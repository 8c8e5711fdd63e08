"""A file of tokens, one a line: `name:token` or `token`; `#` begins a comment line."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from lqhq.runtime.errors import OptionError

__all__ = ["TokenFile"]

# What RFC 6750, section 2.1 lets a bearer token be; a colon is none of it, so a name before one is plain to see.
TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{16,512}={0,4}")
NAME = re.compile(r"[A-Za-z0-9@._-]{1,64}")
MAX_BYTES = 1 << 20
LOOK_S = 1.0  # how often the file is looked at


class _Look(NamedTuple):
    """What changes when a file does."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class TokenFile:
    """The tokens of a file that may change while the server runs: within a second each change counts.

    The file must be right when the server starts. Later a line that is wrong is left out and logged, and a file that
    cannot be read lets nobody in: a token that was taken out must never go on because of a slip elsewhere.
    Tokens are kept as digests under a key of this process, so looking one up tells nothing by its time.
    """

    def __init__(self, path: Path, *, log: Callable[..., None], clock: Callable[[], float] = time.monotonic) -> None:
        """Raises `OptionError` for a file that cannot be read, is empty, or has a wrong line."""
        self._path, self._log, self._clock = path, log, clock
        self._key = secrets.token_bytes(32)
        self._seen, self._next = _look(path), clock() + LOOK_S
        try:
            self._names, faults = self._parsed(_read(path))
        except (OSError, ValueError) as error:
            raise _fault(path, str(getattr(error, "strerror", None) or error)) from error
        if faults or not self._names:
            raise _fault(path, faults[0] if faults else "no token")
        if exposed(path):
            log("token file", warning="others may read it; chmod 600", path=str(path))

    def caller(self, token: str) -> str | None:
        """The name of whose token it is, "" where it has none; None where it is nobody's."""
        self._renew()
        return self._names.get(self._digest(token))

    def _renew(self) -> None:
        if self._clock() < self._next:
            return
        self._next = self._clock() + LOOK_S
        if (look := _look(self._path)) == self._seen:
            return
        self._seen = look
        try:
            self._names, faults = self._parsed(_read(self._path))
        except (OSError, ValueError) as error:
            self._names, faults = {}, [f"nobody is let in: {getattr(error, 'strerror', None) or error}"]
        for fault in faults[:5]:
            self._log("token file", fault=fault, path=str(self._path))
        self._log("token file", tokens=len(self._names), path=str(self._path))

    def _parsed(self, text: str) -> tuple[Mapping[bytes, str], list[str]]:
        """Names by digest, and what is wrong with the other lines; never what they say."""
        names: dict[bytes, str] = {}
        faults = []
        for number, line in enumerate(text.splitlines(), 1):
            if not (line := line.strip()) or line.startswith("#"):
                continue
            name, colon, token = line.rpartition(":")
            digest = self._digest(token)
            if not TOKEN.fullmatch(token):
                faults.append(f"line {number}: no token of 16 to 512 characters of A-Z a-z 0-9 - . _ ~ + /")
            elif colon and not NAME.fullmatch(name):
                faults.append(f"line {number}: a name before the colon that has other characters than A-Z a-z 0-9 @._-")
            elif digest in names:
                faults.append(f"line {number}: a token that is there already")
            else:
                names[digest] = name
        return names, faults

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode(errors="surrogatepass"), hashlib.sha256)


def exposed(path: Path) -> bool:
    """Whether others than its owner and group may read it."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def _look(path: Path) -> _Look | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _Look(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    return data.decode()


def _fault(path: Path, found: str) -> OptionError:
    return OptionError(
        f"token_file {path}",
        found=found,
        expected="a token on each line, name:token or token",
        mend='Make one with: echo "me:$(openssl rand -hex 32)"',
    )
