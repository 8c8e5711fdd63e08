"""What JSON lets through and a manifest may not have: a key given twice, NaN, depth without end.

A key given twice is read differently by different programs, so what one of them checked another may not run.
"""

from __future__ import annotations

import json
from typing import Any

from lqhq.runtime.errors import BundleError

__all__ = ["plain_json"]


def plain_json(data: bytes, where: str) -> Any:
    """Decode UTF-8 JSON to dicts, lists, strings and numbers. Raises `BundleError` for doubtful text."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise _fault(where, f"the key {twice[:80]!r} twice in one object", "each key once")
        return found

    def constant(text: str) -> Any:
        raise _fault(where, f"the number {text}", "finite numbers")

    try:
        return json.loads(data.decode(), object_pairs_hook=once, parse_constant=constant)
    except RecursionError as error:
        raise _fault(where, "objects nested too deep to read", "a manifest of a few levels") from error
    # UnicodeDecodeError, JSONDecodeError and the refusal of numbers of thousands of digits are ValueErrors.
    except ValueError as error:
        raise _fault(where, f"text that is not JSON ({error})", "a JSON object in UTF-8") from error


def _fault(where: str, found: str, expected: str) -> BundleError:
    return BundleError(
        where,
        found=found,
        expected=expected,
        mend="Export the checkpoint again, or get an undamaged copy of the bundle.",
    )
