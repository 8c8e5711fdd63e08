"""`lqhq engines`: build TensorRT engines of a bundle, list those that are kept, clean what is of no use any more."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lqhq.runtime.engine_cache.names import ENGINES_FOLDER
from lqhq.runtime.precision import PRECISIONS
from lqhq.tools.cli.build_engines import FLAVOURS, add_build_flags, build_engines

if TYPE_CHECKING:
    from lqhq.runtime.engine_cache.key import Here

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq engines build demo --engine tensorrt-rtx --target sm86,sm89,sm120
  lqhq engines build my-bundle --engine tensorrt --precision fp16 --profile 256x256@1-4 --profile 64-512x64-512
  lqhq engines list
  lqhq engines clean
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build the engines of a bundle's graphs, or say that they are ready")
    add = build.add_argument
    add("bundle", metavar="BUNDLE", help="folder written by `lqhq export`, or `demo`")
    add("--engine", required=True, choices=FLAVOURS, help="what to build with")
    add("--precision", default="fp32", choices=PRECISIONS, help="of the graphs (default: fp32)")
    add_build_flags(build)
    add("--role", metavar="R", help="of one graph (default: all graphs of the bundle)")
    listed = actions.add_parser("list", help="show what is kept, and whether it can be used here")
    listed.add_argument("--json", action="store_true", help="everything, as JSON")
    cleaned = actions.add_parser("clean", help="remove what can never be used again here")
    cleaned.add_argument("bundle", metavar="BUNDLE", nargs="?", help="only engines of this bundle: a folder or a name")
    cleaned.add_argument("--all", action="store_true", help="remove usable engines, too")
    for action in (listed, cleaned):
        action.add_argument(
            "--cache", metavar="DIR", type=Path, default=ENGINES_FOLDER, help=f"default: {ENGINES_FOLDER}"
        )


def main(args: argparse.Namespace) -> int:
    """Run the command. Raises `LqhqError` for a wrong request and for an engine that cannot be built."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {"build": _build, "list": _list, "clean": _clean}
    return actions[args.action](args)


def _build(args: argparse.Namespace) -> int:
    from lqhq.runtime.bundle import open_bundle

    build_engines(open_bundle(args.bundle), args, precision=args.precision, role=args.role)
    return 0


def _list(args: argparse.Namespace) -> int:
    from lqhq.runtime.engine_cache.listing import list_engines
    from lqhq.tools.cli.engine_text import engine_record, engine_table

    here = _here(args.cache)
    listed = list_engines(args.cache, here)
    if args.json:
        print(json.dumps([engine_record(one) for one in listed], indent=1))
    elif not listed:
        print(f"no engines in {args.cache}")
    else:
        print("\n".join(engine_table(listed, datetime.now(UTC), gpu=here.gpu is not None)))
    return 0


def _clean(args: argparse.Namespace) -> int:
    from lqhq.runtime.engine_cache.cleaning import clean_engines
    from lqhq.tools.cli.columns import aligned, clean, size_text

    bundle = None if args.bundle is None else _bundle_name(args.bundle)
    cleaned = clean_engines(args.cache, _here(args.cache), everything=args.all, bundle=bundle)
    rows = [("removed", one.name, size_text(one.bytes), clean(one.why)) for one in cleaned.removed]
    for line in [*aligned(rows), *(f"  kept     {clean(text)}" for text in cleaned.busy)]:
        print(line)
    total = sum(one.bytes for one in cleaned.removed)
    print(f"{len(cleaned.removed)} files removed, {size_text(total)}")
    return 0


def _bundle_name(source: str) -> str:
    """The name of a bundle that is there, or the text itself: the bundle may have been removed before its engines."""
    from lqhq.runtime.bundle import SHIPPED, open_bundle

    if source in SHIPPED or os.path.isdir(source):
        return open_bundle(source).manifest.name
    return source


def _here(folder: Path) -> Here:
    from lqhq.runtime.engine_cache.listing import flavours_in
    from lqhq.runtime.engine_cache.this_machine import this_machine

    return this_machine(sorted(flavours_in(folder)))
