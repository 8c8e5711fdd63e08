"""`lqhq synthesize`: make realistic low-quality partners of high-quality images."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lqhq.tools.cli.columns import clean
from lqhq.tools.cli.engine_flags import add_precision_flag
from lqhq.tools.cli.memory_size import memory_size
from lqhq.tools.cli.terminal_line import TerminalLine, clock
from lqhq.tools.cli.whole_number import whole_number

if TYPE_CHECKING:
    from lqhq.runtime.bundle import Bundle
    from lqhq.runtime.synthesis.pair import Recipe
    from lqhq.runtime.synthesis.run import Outcome
    from lqhq.runtime.synthesis.sources import Source

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq synthesize my-bundle hq/ -o pairs/ --preview
  lqhq synthesize my-bundle hq/ -o pairs/ --count 4 --with-hq
  lqhq synthesize my-bundle 'photos/**/*.png' -o shards/ --strength 0.05:0.2 --shards 1G --with-hq --resume
"""
SEEDS = 2**64 - 1
COUNT = 10**6  # of one image
SCALES = 16
THREADS = 256  # more than machines have
MEMORY = 4_000_000_000  # of a worker; with it images of usual sizes run whole
SHARD = 10_240  # a tar archive is no smaller
PREVIEWED = 4  # images; more do not fit a screen
RANGE = re.compile(r"([0-9]*\.?[0-9]{1,15}):([0-9]*\.?[0-9]{1,15})")


def _strengths(text: str) -> tuple[float, float]:
    match = RANGE.fullmatch(text) if len(text) <= 40 else None
    if match is None or not float(match[1]) <= float(match[2]) <= 1:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not MIN:MAX with 0 <= MIN <= MAX <= 1, such as 0.05:0.25")
    return float(match[1]), float(match[2])


def _shard_size(text: str) -> int:
    size = memory_size(text)
    if size < SHARD:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is less than {SHARD} bytes, which the least archive takes")
    return size


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="folder written by `lqhq export`")
    add("inputs", metavar="HQ_DIR", nargs="+", help="folders, quoted patterns, or files of high-quality images")
    add("-o", "--output", required=True, metavar="DIR", type=_folder, help="a folder for the pairs")
    add("--count", type=whole_number(1, COUNT), default=1, metavar="K", help="pairs of each image (default: 1)")
    add("--strength", type=_strengths, metavar="MIN:MAX", help="how far into the noise (default: 0 to the bundle's)")
    add(
        "--degradation",
        default="mild",
        metavar="NAME|FILE.toml",
        help="what comes before: mild, real-esrgan, bsrgan, none, or a file of your own (default: mild)",
    )
    add(
        "--scale",
        type=whole_number(1, SCALES),
        default=4,
        metavar="X",
        help="HQ is X times as large as LQ (default: 4)",
    )
    add("--seed", type=whole_number(0, SEEDS), default=0, metavar="S", help="of everything that is drawn (default: 0)")
    add("--workers", type=whole_number(1, THREADS), metavar="W", help="processes (default: one for each processor)")
    add(
        "--threads",
        type=whole_number(1, THREADS),
        default=1,
        metavar="T",
        help="engine threads of a worker (default: 1)",
    )
    add(
        "--memory",
        type=memory_size,
        default=MEMORY,
        metavar="M",
        help="of a worker; tiles are chosen for it, whatever is free (default: 4G)",
    )
    add_precision_flag(parser)
    add(
        "--channel-order",
        choices=("rgb", "bgr"),
        help="that the network is fed in (default: the bundle's own)",
    )
    add("--with-hq", action="store_true", help="write the high-quality halves, too, cut to whole LQ pixels")
    add("--shards", type=_shard_size, metavar="SIZE", help="write WebDataset shards of at most this size, like 1G")
    add("--resume", action="store_true", help="go on with a run of the same settings")
    add(
        "--preview",
        action="store_true",
        help=f"only write DIR/preview.png: HQ, degraded and synthesised, for the first {PREVIEWED} images",
    )
    add("--json", action="store_true", help="report as JSON on standard output")


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("an empty name; `.` is the folder you are in")
    return Path(text)


def main(args: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 when an image failed."""
    from lqhq.runtime.bundle import open_bundle
    from lqhq.runtime.synthesis.run import make_pairs
    from lqhq.runtime.synthesis.sources import find_sources
    from lqhq.runtime.synthesis.workers import default_workers

    sources = find_sources(args.inputs, args.output, dotless=args.shards is not None)
    recipe = _recipe(args, open_bundle(args.bundle), sources)
    if args.preview:
        return _preview(recipe, sources, args.output)
    pairs = len(sources) * args.count
    workers = args.workers or default_workers(threads=args.threads, memory=args.memory)
    line, start = _PairLine(sys.stderr), time.monotonic()
    outcomes = make_pairs(
        recipe, sources, args.output, workers=min(workers, pairs), resume=args.resume, listen=line.update
    )
    line.clear()
    _report(outcomes, time.monotonic() - start, args)
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _recipe(args: argparse.Namespace, bundle: Bundle, sources: Sequence[Source]) -> Recipe:
    """What was asked for, checked before the first image is opened. Raises `OptionError`."""
    import msgspec

    from lqhq.runtime.bundle import MANIFEST
    from lqhq.runtime.degrade import NAMES, load_degradation
    from lqhq.runtime.synthesis.pair import Recipe, synthesis_of
    from lqhq.runtime.synthesis.pair_key import file_digest
    from lqhq.runtime.synthesis.settings import Settings, versions
    from lqhq.runtime.synthesis.sources import names_digest
    from lqhq.runtime.synthesis.strength import StrengthRange, check_strengths

    synthesis = synthesis_of(bundle)
    bundle.graph("denoise", args.precision)
    strengths = StrengthRange(*(args.strength or (0.0, synthesis.most)))
    check_strengths(strengths, nominal=synthesis.steps, schedules=len(synthesis.schedules))
    degradation, named = load_degradation(args.degradation), args.degradation
    settings = Settings(
        bundle=file_digest(bundle.folder / MANIFEST).hex(),
        seed=args.seed,
        count=args.count,
        strength=strengths,
        degradation=named if named in NAMES else Path(named).name,
        degradation_sha256=hashlib.sha256(msgspec.json.encode(degradation)).hexdigest(),
        scale=args.scale,
        channel_order=args.channel_order or bundle.manifest.pixels.order,
        with_hq=args.with_hq,
        shard_bytes=args.shards,
        memory=args.memory,
        precision=args.precision,
        threads=args.threads,
        inputs=names_digest(sources),
        versions=versions(),
    )
    return Recipe(bundle=bundle.folder, degradation=degradation, settings=settings)


def _preview(recipe: Recipe, sources: Sequence[Source], out: Path) -> int:
    """Write the contact sheet, and say what its columns are; images that cannot be read are left out of it."""
    from lqhq.runtime.errors import LqhqError
    from lqhq.runtime.synthesis.output_folder import PREVIEW
    from lqhq.runtime.synthesis.png_bytes import png_bytes
    from lqhq.runtime.synthesis.sheet import preview_steps, sheet, sheet_row
    from lqhq.runtime.synthesis.whole_file import write_whole

    rows, failed = [], 0
    with recipe.open() as maker:
        for source in sources[:PREVIEWED]:
            try:
                rows.append(sheet_row(maker, source))
            except LqhqError as error:
                failed += 1
                print(_failed(source, str(error)), file=sys.stderr)
        steps = ", ".join(f"{n} of {maker.nominal} steps" for n in preview_steps(maker))
    if rows:
        write_whole(out, out / PREVIEW, png_bytes(sheet(rows)))
        print(f"{clean(str(out / PREVIEW))}  from left to right: HQ, degraded, {steps}")
    return 1 if failed else 0


class _PairLine:
    """A line of progress for a terminal: pairs done, pairs a second, time left. Silent when nobody looks."""

    def __init__(self, stream: TextIO) -> None:
        self._line = TerminalLine(stream)
        self._first: tuple[float, int] | None = None

    def update(self, name: str, done: int, total: int) -> None:
        """`done` of `total` pairs are there; `name` is the last one."""
        if not self._line.shown:
            return
        now = time.monotonic()
        text = f"[{done}/{total}] {clean(name)}"
        if self._first is None:
            self._first = now, done  # the clock starts with the first pair's end: opening is not the network's speed
        elif now > self._first[0]:
            rate = (done - self._first[1]) / (now - self._first[0])
            text += f"  {rate:.2f} pairs/s  {clock((total - done) / rate)} left"
        self._line.write(text)

    def clear(self) -> None:
        """Remove the line."""
        self._line.clear()


def _report(outcomes: Sequence[Outcome], seconds: float, args: argparse.Namespace) -> None:
    made, kept = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("made", "kept"))
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if args.json:
        images = [_record(outcome) for outcome in outcomes]
        print(json.dumps({"made": made, "kept": kept, "seconds": round(seconds, 3), "images": images}, indent=1))
    else:
        for outcome in failed:
            print(_failed(outcome.source, str(outcome.error)), file=sys.stderr)
        there = f", {kept} were there" if kept else ""
        print(f"{clean(str(args.output))}  {made} pairs of {len(outcomes)} images{there}  {seconds:.1f} s")
    if failed and len(outcomes) > 1:
        print(f"lqhq synthesize: {len(failed)} of {len(outcomes)} images failed", file=sys.stderr)


def _record(outcome: Outcome) -> dict[str, Any]:
    return {
        "input": str(outcome.source.path),
        "status": outcome.status,
        "made": outcome.made,
        "kept": outcome.kept,
        "error": outcome.error,
    }


def _failed(source: Source, error: str) -> str:
    # Errors begin with what they are about, which may be the input itself.
    return "failed: " + clean(error if error.startswith(f"{source.path}: ") else f"{source.path}: {error}")
