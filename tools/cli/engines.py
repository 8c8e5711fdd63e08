"""`lqhq engines`: build TensorRT engines of a bundle, list those that are kept, clean what is of no use any more."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lqhq.runtime.bundle import Bundle
    from lqhq.runtime.engine_cache.key import Here
    from lqhq.runtime.engine_cache.store import CachedEngine
    from lqhq.runtime.engine_spec import EngineSpec, Profile
    from lqhq.runtime.manifest import Role

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq engines build demo --engine tensorrt-rtx --target sm86,sm89,sm120
  lqhq engines build my-bundle --engine tensorrt --precision fp16 --profile 256x256@1-4 --profile 64-512x64-512
  lqhq engines list
  lqhq engines clean
"""
CACHE = "~/.cache/lqhq/engines"
TARGET = re.compile(r"sm[0-9]{2,3}")
MAX_TARGETS, MAX_PROFILES = 16, 16


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build the engines of a bundle's graphs, or say that they are ready")
    add = build.add_argument
    add("bundle", metavar="BUNDLE", help="folder written by `lqhq export`, or `demo`")
    add("--engine", required=True, choices=("tensorrt", "tensorrt-rtx"), help="what to build with")
    add("--precision", default="fp32", choices=("fp32", "fp16", "bf16"), help="of the graphs (default: fp32)")
    add("--target", metavar="SM,...", default="", help="GPUs to build for, such as sm86,sm89 (default: the one here)")
    add(
        *("--profile",),
        metavar="HxW@N",
        action="append",
        default=[],
        help="shapes to build for, such as 256x256@1-4; may be repeated (default: the bundle's preferred tiles)",
    )
    add("--role", metavar="R", help="of one graph (default: all graphs of the bundle)")
    listed = actions.add_parser("list", help="show what is kept, and whether it can be used here")
    listed.add_argument("--json", action="store_true", help="everything, as JSON")
    cleaned = actions.add_parser("clean", help="remove what can never be used again here")
    cleaned.add_argument("bundle", metavar="BUNDLE", nargs="?", help="only engines of this bundle: a folder or a name")
    cleaned.add_argument("--all", action="store_true", help="remove usable engines, too")
    for action in (build, listed, cleaned):
        action.add_argument("--cache", metavar="DIR", type=Path, default=Path(CACHE), help=f"default: {CACHE}")


def main(args: argparse.Namespace) -> int:
    """Run the command. Raises `LqhqError` for a wrong request and for an engine that cannot be built."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {"build": _build, "list": _list, "clean": _clean}
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from lqhq.runtime.engine_cache.listing import list_engines
    from lqhq.tools.cli.engine_text import engine_record, engine_table

    listed = list_engines(args.cache, _here(args.cache))
    if args.json:
        print(json.dumps([engine_record(one) for one in listed], indent=1))
    elif not listed:
        print(f"no engines in {args.cache}")
    else:
        print("\n".join(engine_table(listed, datetime.now(UTC))))
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


def _build(args: argparse.Namespace) -> int:
    from lqhq.runtime.bundle import open_bundle
    from lqhq.runtime.engine_cache.engine_for import engine_for
    from lqhq.runtime.engine_cache.this_machine import this_machine
    from lqhq.tools.cli.build_line import BuildLine, run_stoppable
    from lqhq.tools.cli.columns import clean

    bundle = open_bundle(args.bundle)
    specs = {role: _spec(args, bundle, role) for role in _roles(args, bundle)}
    graphs = {role: bundle.graph(role, args.precision) for role in specs}
    _check_writable(args.cache)
    here, line = this_machine([args.engine]), BuildLine(sys.stderr)

    def say(text: str) -> None:
        line.clear()
        print(clean(text), flush=True)

    for role, spec in specs.items():
        line.what = f"{bundle.manifest.name} {role} {args.precision}"
        build = partial(engine_for, graphs[role], spec, here, folder=args.cache, say=say, progress=line.update)
        try:
            engine = run_stoppable(build)
        finally:
            line.clear()
        _print_engine(line.what, engine)
    return 0


def _print_engine(what: str, engine: CachedEngine) -> None:
    from lqhq.runtime.engine_cache.record import Record
    from lqhq.runtime.errors import EngineError
    from lqhq.tools.cli.columns import clean, size_text
    from lqhq.tools.cli.engine_text import layer_text

    record: Record = engine.record
    if engine.path is None:
        raise EngineError(
            what,
            found="an engine that could not be kept",
            expected="a cache with space for it",
            mend="Free space on that disk, or name another folder with --cache.",
        )
    done = f"built in {record.seconds:.1f} s" if engine.fresh else f"ready (its build took {record.seconds:.1f} s)"
    print(f"{what}: {done}, {size_text(record.bytes)}, types {record.state}: {layer_text(record.parsed)}")
    print(f"  {engine.path}", *(f"  {clean(note)}" for note in record.notes), sep="\n", flush=True)


def _roles(args: argparse.Namespace, bundle: Bundle) -> list[Role]:
    from lqhq.runtime.errors import OptionError

    roles = [role for role in bundle.manifest.graphs if args.role in (None, role)]
    if not roles:
        raise OptionError(
            "--role",
            found=repr(args.role),
            expected=f"one of {', '.join(bundle.manifest.graphs)}",
            mend="Leave it out to build all of them.",
        )
    return roles


def _spec(args: argparse.Namespace, bundle: Bundle, role: Role) -> EngineSpec:
    """What is asked for of one role; a graph of vectors takes the batches alone of given profiles."""
    from lqhq.runtime.engine_spec import EngineSpec, Profile, Range
    from lqhq.runtime.errors import OptionError
    from lqhq.runtime.profiles import check_profiles, default_profiles, parse_profile, takes_image

    if len(args.profile) > MAX_PROFILES:
        raise OptionError(
            "--profile", found=f"{len(args.profile)}", expected=f"at most {MAX_PROFILES}", mend="Give fewer of them."
        )
    manifest = bundle.manifest
    profiles: tuple[Profile, ...] = tuple(parse_profile(text) for text in args.profile)
    if not profiles:
        profiles = default_profiles(manifest, role)
    elif not takes_image(bundle.graph(role, args.precision).graph.inputs):
        one = Range(1, 1, 1)
        profiles = tuple(dict.fromkeys(Profile(batch=each.batch, height=one, width=one) for each in profiles))
    check_profiles(profiles, manifest, role)
    return EngineSpec(flavour=args.engine, targets=_targets(args.target), profiles=profiles)


def _targets(text: str) -> tuple[str, ...]:
    from lqhq.runtime.errors import OptionError

    targets = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if len(targets) > MAX_TARGETS or not all(TARGET.fullmatch(target) for target in targets):
        raise OptionError(
            "--target",
            found=repr(text[:80]),
            expected=f"at most {MAX_TARGETS} compute capabilities with commas in between",
            mend="Write for instance --target sm86,sm89,sm120",
        )
    return targets


def _bundle_name(source: str) -> str:
    """The name of a bundle that is there, or the text itself: the bundle may have been removed before its engines."""
    from lqhq.runtime.bundle import open_bundle

    if source == "demo" or os.path.isdir(source):
        return open_bundle(source).manifest.name
    return source


def _check_writable(folder: Path) -> None:
    """Raise `EngineError` before minutes are spent on what could not be kept."""
    from lqhq.runtime.engine_cache.listing import cache_folder
    from lqhq.runtime.errors import EngineError

    place: Any = cache_folder(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(place, os.W_OK | os.X_OK) else "Permission denied"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise EngineError(
            str(folder), found=reason, expected="a folder that may be written to", mend="Name another with --cache."
        )


def _here(folder: Path) -> Here:
    from lqhq.runtime.engine_cache.listing import flavours_in
    from lqhq.runtime.engine_cache.this_machine import this_machine

    return this_machine(sorted(flavours_in(folder)))
