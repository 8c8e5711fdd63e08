"""A TOML file of settings, and the flags above it.

The file's names are those of the flags with `_` for `-`: `max_batch = 4`, `device = ["cuda:0", "cuda:1"]`. Sizes are
whole numbers or texts like "4G". Relative paths are of the file's folder.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from lqhq.runtime.byte_size import byte_size
from lqhq.runtime.errors import OptionError
from lqhq.server.config.serve_config import ServeConfig

__all__ = ["KEYS", "OFF", "read_config"]

OFF = "off"  # of metrics_port, which TOML has no null for
MAX_BYTES = 1 << 20

# The key of the file, which is the flag's name, by field; all others are called as the field is.
KEYS: Mapping[str, str] = {field.name: field.name for field in fields(ServeConfig)} | {
    "devices": "device",
    "batch_window_ms": "batch_window",
    "max_message_bytes": "max_message",
    "drain_s": "drain",
}
PATHS = frozenset({"model_dir", "cache", "tls_cert", "tls_key", "tls_client_ca", "token_file"})
LISTS = frozenset({"bundles", "devices"})
SIZES = frozenset({"memory", "max_message_bytes", "max_image_bytes"})
SWITCHES = frozenset({"allow_unverified", "reflection"})
TEXTS = frozenset({"host", "engine", "precision", "log_format"})


def read_config(path: Path | None, given: Mapping[str, Any]) -> ServeConfig:
    """The file at `path`, if there is one, with the fields of `given` above it.

    `given` has the names of `ServeConfig`'s fields; what is None or empty there was not given. Devices may be joined by
    commas, sizes texts, `metrics_port` "off". Raises `OptionError` for a file that cannot be read, an unknown name
    (with the nearest known), a wrong value, and where no model is named at all.
    """
    told = {} if path is None else _file_fields(path)
    for name, value in given.items():
        if value is not None and value != () and value != []:
            told[name] = _read(name, value, "")
    config = ServeConfig(**told)
    if not config.bundles and config.model_dir is None:
        raise OptionError(
            "bundles",
            found="none",
            expected="a bundle, or a folder of bundles",
            mend="Name one, as in `lqhq serve demo`, or give --model-dir.",
        )
    return config


def _file_fields(path: Path) -> dict[str, Any]:
    names = {key: name for name, key in KEYS.items()}
    told = {}
    for key, value in _table(path).items():
        if key not in names:
            _unknown(path, key, names)
        try:
            told[names[key]] = _read(names[key], value, str(path.parent))
        except OptionError as error:
            raise OptionError(f"{path}: {key}", found=error.found, expected=error.expected, mend=error.mend) from error
    return told


def _table(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        return tomllib.loads(data.decode())
    except (OSError, ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        found = error.strerror if isinstance(error, OSError) else str(error)
        raise OptionError(
            f"config {path}", found=str(found)[:200], expected="a TOML file", mend="Check the path and the line named."
        ) from error


def _unknown(path: Path, key: str, names: Mapping[str, str]) -> NoReturn:
    near = get_close_matches(key, [*names, *KEYS], n=1, cutoff=0.5)
    # A field's own name is near, too: people know `drain_s` from the code.
    hint = f"Did you mean {KEYS.get(near[0], near[0])!r}?" if near else f"Known: {', '.join(sorted(names))}."
    raise OptionError(f"config {path}", found=f"the key {key[:80]!r}", expected="the name of a flag, with _", mend=hint)


def _read(name: str, value: Any, folder: str) -> Any:
    """`value` as the field `name` holds it; numbers and words are left for `ServeConfig` to check."""
    readers: tuple[tuple[frozenset[str], Callable[[str, Any, str], Any]], ...] = (
        (PATHS, _path),
        (LISTS, _list),
        (SIZES, _size),
        (SWITCHES, _switch),
        (TEXTS, _text),
    )
    for names, read in readers:
        if name in names:
            return read(name, value, folder)
    if name == "metrics_port" and value == OFF:
        return None
    return value


def _path(name: str, value: Any, folder: str) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        _wrong(name, value, "a path")
    return Path(os.path.join(folder, os.path.expanduser(value)))


def _list(name: str, value: Any, folder: str) -> tuple[str, ...]:
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and part for part in parts):
        _wrong(name, value, "a text or a list of texts")
    if name == "devices":
        return tuple(device.strip() for part in parts for device in part.split(","))
    return tuple(_beside(part, folder) for part in parts)


def _beside(bundle: str, folder: str) -> str:
    """`NAME=PATH` or `PATH` with the path below `folder`; "demo" is the bundle that ships with lqhq."""
    name, equals, path = bundle.partition("=")  # names have none, paths may
    if not equals:
        name, path = "", bundle
    if path == "demo":
        return bundle
    # As text: a Path would make of "./demo", a folder, the word "demo".
    return f"{name}{equals}{os.path.join(folder, os.path.expanduser(path))}"


def _size(name: str, value: Any, folder: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return byte_size(value)
    except ValueError:
        _wrong(name, value, "a size like 800M or 1.5G")


def _switch(name: str, value: Any, folder: str) -> bool:
    return value if isinstance(value, bool) else _wrong(name, value, "true or false")


def _text(name: str, value: Any, folder: str) -> str:
    return value if isinstance(value, str) else _wrong(name, value, "a text")


def _wrong(name: str, value: Any, expected: str) -> NoReturn:
    raise OptionError(name, found=repr(value)[:200], expected=expected, mend="Correct the flag or the file's line.")
