"""A TOML file that says in what a degradation differs from a named one: read within bounds, and checked whole."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from lqhq.runtime.errors import LimitError, OptionError

__all__ = ["MAX_BYTES", "overridden"]

MAX_BYTES = 1 << 16  # every field of a preset, spelt out with comments, is 4 KiB
Struct = TypeVar("Struct", bound=msgspec.Struct)


def overridden(path: str, presets: Mapping[str, Struct]) -> Struct:
    """The preset that the file names as `base`, with the file's values for its own. Errors as `load_degradation`."""
    found = _parsed(path, _read(path))
    base = found.pop("base", None)
    if not isinstance(base, str) or base not in presets:
        raise _wrong(path, f"base = {base!r:.80}" if base is not None else "no `base`", f"one of {', '.join(presets)}")
    try:
        return msgspec.convert(_merged(msgspec.to_builtins(presets[base]), found), type(presets[base]))
    except msgspec.ValidationError as error:
        raise _wrong(path, str(error), f"fields of {base!r} within their ranges") from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _wrong(path, "no regular file", "a TOML file")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _wrong(path, error.strerror or str(error), "a readable file") from error
    if len(data) > MAX_BYTES:
        raise LimitError(
            path,
            found=f"more than {MAX_BYTES} bytes",
            expected="a TOML file of a few hundred bytes",
            mend="Keep the differences from the base only.",
        )
    return data


def _open_at_once(path: str, flags: int) -> int:
    """A pipe without a writer would keep us waiting for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _parsed(path: str, data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except RecursionError as error:
        raise _wrong(path, "values nested too deep to read", "tables of a few levels") from error
    # UnicodeDecodeError, TOMLDecodeError and the refusal of numbers of thousands of digits are ValueErrors.
    except ValueError as error:
        raise _wrong(path, f"text that is not TOML ({error})", "a TOML file in UTF-8") from error


def _merged(base: Any, changes: Any) -> Any:
    """Tables are merged key by key; everything else is replaced whole."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: _merged(base.get(key), value) for key, value in changes.items()}}


def _wrong(path: str, found: str, expected: str) -> OptionError:
    return OptionError(path, found=found, expected=expected, mend="Mend the file; the guide lists its fields.")
