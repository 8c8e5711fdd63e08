"""What became of each file, in sentences or as JSON, for `lqhq upscale` and `lqhq client restore`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lqhq.runtime.batch import Outcome
from lqhq.tools.cli.columns import clean

__all__ = ["print_report"]


def print_report(
    command: str, outcomes: Sequence[Outcome], *, as_json: bool, more: Sequence[Mapping[str, Any]] | None = None
) -> int:
    """Print one line a file, failures to standard error, or one JSON object; the exit code: 1 where a file failed.

    `more` are further fields of each file's JSON record.
    """
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if as_json:
        fields = more or [{}] * len(outcomes)
        records = [{**_record(outcome), **further} for outcome, further in zip(outcomes, fields, strict=True)]
        print(json.dumps({"files": records}, indent=1))
    else:
        for outcome in outcomes:
            print(_sentence(outcome), file=sys.stderr if outcome.status == "failed" else sys.stdout)
    if failed and len(outcomes) > 1:
        print(f"lqhq {command}: {len(failed)} of {len(outcomes)} files failed", file=sys.stderr)
    return 1 if failed else 0


def _record(outcome: Outcome) -> dict[str, Any]:
    return {
        "input": str(outcome.pair.source),
        "output": str(outcome.pair.target),
        "status": outcome.status,
        "seconds": round(outcome.seconds, 3),
        "size": outcome.size,
        "tiles": outcome.tiles,
        "error": outcome.error,
    }


def _sentence(outcome: Outcome) -> str:
    source, target = str(outcome.pair.source), clean(str(outcome.pair.target))
    if outcome.status == "failed":
        # Errors begin with what they are about, which may be the input itself.
        error = str(outcome.error)
        named = error.startswith(f"{source}: ")
        return "failed: " + clean(error if named else f"{source}: {error}")
    if outcome.status == "skipped":
        return f"skipped: {target} exists"
    width, height = outcome.size or (0, 0)
    return f"{target}  {width}x{height}  {outcome.seconds:.1f} s"
