"""Builds the TensorRT engines of a bundle, for `lqhq engines build` and `lqhq export --engine`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lqhq.runtime.engine_cache.names import ENGINES_FOLDER
from lqhq.runtime.engine_spec import TARGET, Flavour

if TYPE_CHECKING:
    from lqhq.runtime.bundle import Bundle
    from lqhq.runtime.engine_cache.store import CachedEngine
    from lqhq.runtime.engine_spec import EngineSpec, Profile
    from lqhq.runtime.manifest import Role

__all__ = ["FLAVOURS", "add_build_flags", "build_engines", "require_builder"]

FLAVOURS = get_args(Flavour)
MAX_TARGETS, MAX_PROFILES = 16, 16


def add_build_flags(parser: argparse._ActionsContainer) -> None:
    """`--target`, `--profile` and `--cache`; what is built is `--engine`."""
    add = parser.add_argument
    add("--target", metavar="SM,...", default="", help="GPUs to build for, such as sm86,sm89 (default: the one here)")
    add(
        "--profile",
        metavar="HxW@N",
        action="append",
        default=[],
        help="shapes to build for, such as 256x256@1-4; may be repeated (default: the bundle's preferred tiles)",
    )
    add("--cache", metavar="DIR", type=Path, help=f"where engines are kept (default: {ENGINES_FOLDER})")


def require_builder(args: argparse.Namespace) -> None:
    """Raise `EngineError` or `OptionError` for what would fail once the graphs are there, which may take minutes."""
    from lqhq.runtime.engines.trt.flavour import build_targets, load_flavour
    from lqhq.runtime.profiles import parse_profile

    build_targets(load_flavour(args.engine), _targets(args.target))
    for text in args.profile:
        parse_profile(text)
    _check_writable(_folder(args))


def _folder(args: argparse.Namespace) -> Path:
    return ENGINES_FOLDER if args.cache is None else args.cache


def build_engines(bundle: Bundle, args: argparse.Namespace, *, precision: str, role: str | None = None) -> None:
    """Build the engines of `args.engine` for `bundle`, or say that they are ready; all roles, or `role` alone.

    Raises `LqhqError`.
    """
    from lqhq.runtime.engine_cache.engine_for import engine_for
    from lqhq.runtime.engine_cache.this_machine import this_machine
    from lqhq.tools.cli.build_line import BuildLine, run_stoppable
    from lqhq.tools.cli.columns import clean

    graphs = {name: bundle.graph(name, precision) for name in _roles(bundle, role)}
    specs = {name: _spec(args, bundle, name) for name in graphs}
    folder = _folder(args)
    _check_writable(folder)
    here, line = this_machine([args.engine]), BuildLine(sys.stderr)

    def say(text: str) -> None:
        line.clear()
        print(clean(text), flush=True)

    for name, spec in specs.items():
        line.what = f"{bundle.manifest.name} {name} {precision}"
        build = partial(engine_for, graphs[name], spec, here, folder=folder, say=say, progress=line.update)
        try:
            engine = run_stoppable(build)
        finally:
            line.clear()
        _print_engine(line.what, engine)


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


def _roles(bundle: Bundle, asked: str | None) -> list[Role]:
    from lqhq.runtime.errors import OptionError

    roles = [role for role in bundle.manifest.graphs if asked in (None, role)]
    if not roles:
        raise OptionError(
            "--role",
            found=repr(asked),
            expected=f"one of {', '.join(bundle.manifest.graphs)}",
            mend="Leave it out to build all of them.",
        )
    return roles


def _spec(args: argparse.Namespace, bundle: Bundle, role: Role) -> EngineSpec:
    """What is asked for of one role; a graph of vectors takes the batches alone of given profiles."""
    from lqhq.runtime.bundle_sessions import engine_profiles
    from lqhq.runtime.engine_spec import EngineSpec
    from lqhq.runtime.errors import OptionError
    from lqhq.runtime.profiles import check_profiles, parse_profile

    if len(args.profile) > MAX_PROFILES:
        raise OptionError(
            "--profile", found=f"{len(args.profile)}", expected=f"at most {MAX_PROFILES}", mend="Give fewer of them."
        )
    manifest = bundle.manifest
    asked: tuple[Profile, ...] = tuple(parse_profile(text) for text in args.profile)
    profiles = engine_profiles(manifest, role, args.engine, asked)
    check_profiles(profiles, manifest, role)
    return EngineSpec(flavour=args.engine, targets=_targets(args.target), profiles=profiles)


def _targets(text: str) -> tuple[str, ...]:
    from lqhq.runtime.errors import OptionError

    targets = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if len(targets) > MAX_TARGETS or not all(re.fullmatch(TARGET, target) for target in targets):
        raise OptionError(
            "--target",
            found=repr(text[:80]),
            expected=f"at most {MAX_TARGETS} compute capabilities with commas in between",
            mend="Write for instance --target sm86,sm89,sm120",
        )
    return targets


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
