"""`lqhq inspect`: show what a bundle holds, after checking it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lqhq.runtime.bundle import Bundle

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq inspect demo
  lqhq inspect my-bundle --schedule quality
  lqhq inspect my-bundle --json | jq .manifest.tiles
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("bundle", metavar="BUNDLE", help="folder written by `lqhq export`, or `demo`")
    parser.add_argument("--schedule", metavar="NAME", help="show the rows of this schedule only")
    parser.add_argument("--json", action="store_true", help="everything, with all digits, as JSON")
    parser.add_argument("--cache", metavar="DIR", type=Path, help="where built engines are kept")


def main(args: argparse.Namespace) -> int:
    """Run the command. Raises `BundleError` for a bundle that does not hold what it says."""
    from lqhq.runtime.bundle import open_bundle
    from lqhq.runtime.engine_cache.names import ENGINES_FOLDER
    from lqhq.runtime.errors import OptionError
    from lqhq.tools.cli.engine_text import engine_lines
    from lqhq.tools.cli.inspect_page import page
    from lqhq.tools.cli.schedule_page import schedule_table

    bundle = open_bundle(args.bundle)
    schedules = bundle.manifest.schedules
    if args.schedule is not None and args.schedule not in schedules:
        raise OptionError(
            "--schedule",
            found=repr(args.schedule),
            expected=f"one of {', '.join(schedules)}" if schedules else "none: this bundle has no schedules",
            mend="`lqhq inspect BUNDLE` lists them.",
        )
    if args.json:
        text = json.dumps(_record(bundle, args.schedule), indent=1) + "\n"
    elif args.schedule is not None:
        text = schedule_table(args.schedule, schedules[args.schedule])
    else:
        text = page(bundle.manifest, engine_lines(bundle, args.cache or ENGINES_FOLDER))
    sys.stdout.write(text)
    return 0


def _record(bundle: Bundle, schedule: str | None) -> dict[str, Any]:
    """The manifest and what follows from it; of one schedule, that schedule alone."""
    import msgspec

    from lqhq.tools.cli.inspect_page import graph_bytes

    manifest = bundle.manifest
    if schedule is not None:
        rows: dict[str, Any] = msgspec.to_builtins(manifest.schedules[schedule])
        return {"name": schedule, **rows}
    return {
        "folder": str(bundle.folder),
        "total_bytes": sum(record.bytes for record in manifest.files.values()),
        "graph_bytes": {
            role: {precision: graph_bytes(manifest, graph) for precision, graph in variants.items()}
            for role, variants in manifest.graphs.items()
        },
        "parity_passed": bool(manifest.parity) and all(one.passed for one in manifest.parity),
        "manifest": msgspec.to_builtins(manifest),
    }
