"""`lqhq doctor`: what works here, what not, why, and what to do about it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import metadata

from lqhq.tools.cli.columns import aligned, clean
from lqhq.tools.cli.engine_checks import engine_checks
from lqhq.tools.cli.machine_checks import CHECKS, Check, extra_checks

__all__ = ["configure", "main", "report"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = "The exit code is 0 when upscaling works here, whatever else is missing."
    parser.add_argument("--json", action="store_true", help="report as JSON")


def main(args: argparse.Namespace) -> int:
    """Run every check; 0 when upscaling works, else 1."""
    checks = [*(check() for check in CHECKS), *engine_checks(), *extra_checks()]
    works = not any(check.status == "bad" for check in checks)
    if args.json:
        record = {"works": works, "checks": [check.as_dict() for check in checks]}
        sys.stdout.write(json.dumps(record, indent=1) + "\n")
    else:
        sys.stdout.write(report(checks))
    return 0 if works else 1


def report(checks: Sequence[Check]) -> str:
    """The findings, then what to do about each that is not ok, then the verdict."""
    lines = [f"lqhq {metadata.version('lqhq')}", ""]
    lines += aligned([(check.status, check.name, clean(check.found)) for check in checks])
    mends = [check for check in checks if check.mend]
    if mends:
        lines += ["", "To mend", *aligned([(check.name, check.mend) for check in mends])]
    bad = [check.name for check in checks if check.status == "bad"]
    verdict = f"Upscaling does not work here: {', '.join(bad)}." if bad else "Upscaling works here."
    return "\n".join([*lines, "", verdict]) + "\n"
