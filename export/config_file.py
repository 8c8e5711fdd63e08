"""A model's config.json, or the file of `--config`: one small JSON object, read without surprises."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Any

from lqhq.export.foreign_text import printable
from lqhq.runtime.errors import BundleError, CheckpointError
from lqhq.runtime.strict_json import plain_json

__all__ = ["MAX_JSON_BYTES", "read_json_object"]

MAX_JSON_BYTES = 1 << 20  # a config is a few kilobytes


def read_json_object(file: Path) -> dict[str, Any]:
    """A JSON object of at most 1 MiB, each key once. Raises `CheckpointError` for anything else."""
    if os.path.exists(file) and not os.path.isfile(file):  # reading a pipe or a device may never end
        raise _fault(file, "no regular file")
    try:
        size = file.stat().st_size
        if size > MAX_JSON_BYTES:
            raise _fault(file, f"{size} bytes", f"at most {MAX_JSON_BYTES} bytes of JSON")
        # Some editors put a byte order mark before UTF-8, which JSON does not know.
        data = plain_json(file.read_bytes().removeprefix(codecs.BOM_UTF8), str(file))
    except OSError as error:
        raise _fault(file, error.strerror or str(error)) from error
    except BundleError as error:
        raise _fault(file, printable(error.found), error.expected) from error
    if not isinstance(data, dict):
        raise _fault(file, type(data).__name__)
    return data


def _fault(file: Path, found: str, expected: str = "a JSON object in a regular file") -> CheckpointError:
    return CheckpointError(
        str(file),
        found=found,
        expected=expected,
        mend='Give a JSON file like {"time_scale": 1.0, ...}; docs/guide/export.md lists the keys.',
    )
