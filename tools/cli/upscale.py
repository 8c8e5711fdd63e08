"""`lqhq upscale`: restore image files with a bundle."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lqhq.tools.cli.columns import clean
from lqhq.tools.cli.engine_flags import add_engine_flags, add_precision_flag, engine_options
from lqhq.tools.cli.memory_size import memory_size
from lqhq.tools.cli.progress import ProgressLine
from lqhq.tools.cli.whole_number import whole_number

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq upscale demo photo.jpg -o photo_x4.png
  lqhq upscale demo scans/ -o restored/ --resume
  lqhq upscale my-bundle 'film/*.tif' -o out/ --schedule quality --memory 4G
  lqhq upscale osediff-bundle photo.jpg -o out.png --prompt "a stone house, trees"
  lqhq upscale inpainting-bundle photo.png --mask scratches.png -o repaired.png
"""


# What goes to `Restorer.restore` under the same name.
OPTIONS = (
    *("schedule", "seed", "tile", "overlap", "blend", "memory", "color_fix", "prior"),
    *("prompt", "tagger", "rules", "scratch"),
)
SEEDS = 2**64 - 1
PIXELS = 2**31 - 1  # of a side; the image libraries count no further
THREADS = 256  # more than machines have; a thousand times as many would take the machine down


def _tile(text: str) -> int | str:
    return text if text == "auto" else whole_number(1, PIXELS)(text)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="folder written by `lqhq export`, or `demo`")
    add("inputs", metavar="INPUT", nargs="+", help="image files, folders, or quoted patterns")
    add("-o", "--output", required=True, metavar="FILE_OR_DIR", help="result file (one input) or folder")
    add("--schedule", metavar="NAME", help="which of the bundle's schedules (default: the bundle's own)")
    add(
        "--seed",
        type=whole_number(0, SEEDS),
        default=0,
        metavar="S",
        help="seed of the noise, where any is drawn (default: 0)",
    )
    add("--tile", type=_tile, default="auto", metavar="N|auto", help="side of a tile in network pixels")
    add("--overlap", type=whole_number(0, PIXELS), metavar="N", help="pixels that neighbouring tiles share")
    add("--blend", choices=("each", "final"), help="blend tiles at every step, or only the final pixels")
    add("--memory", type=memory_size, metavar="M", help="budget, like 1.5G (default: 80%% of what is free)")
    add("--threads", type=whole_number(1, THREADS), metavar="T", help="engine threads (default: all processors)")
    add_precision_flag(parser)
    add_engine_flags(parser)
    add(
        "--mask",
        metavar="FILE_OR_DIR",
        help="for bundles that fill holes: not black is the hole; a folder has one each",
    )
    add(
        "--prior",
        choices=("image", "tile"),
        help="for guided bundles: one prior for all tiles (default), or each its own",
    )
    add(
        "--color-fix",
        choices=("none", "wavelet", "adain"),
        help="give the result the input's colours (default: what the bundle's model does)",
    )
    add("--prompt", metavar="TEXT", help="what is to be seen, for bundles that read a prompt")
    add("--tagger", action="store_true", help="put the tags that the bundle reads off each image before the prompt")
    add(
        "--rules",
        choices=("default", "original"),
        help="sizes and rounding: lqhq's, or those of the model's own program, for parity",
    )
    add("--scratch", metavar="DIR", type=Path, help="folder for what --memory does not hold (default: the system's)")
    add(
        "--resume",
        action="store_true",
        help="skip results that exist and are not older, whatever settings made them",
    )
    add("--json", action="store_true", help="report as JSON on standard output")


def main(args: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 when a file failed."""
    from lqhq.runtime.batch import restore_files
    from lqhq.runtime.file_plan import plan_files
    from lqhq.runtime.image_file import SUFFIXES
    from lqhq.runtime.mask_files import plan_masks
    from lqhq.runtime.restorer import Restorer

    pairs = plan_files(args.inputs, args.output, SUFFIXES, beside=args.mask)
    line = ProgressLine(sys.stderr, len(pairs))
    masks = None if args.mask is None else plan_masks(pairs, args.mask, SUFFIXES)
    options: dict[str, Any] = {name: getattr(args, name) for name in OPTIONS}

    def note(pair: Any, text: str) -> None:
        line.clear()
        print(f"{clean(str(pair.source))}: {text}", file=sys.stderr)

    def say(text: str) -> None:
        line.clear()
        print(clean(text), file=sys.stderr)

    with Restorer.open(args.bundle, **engine_options(args), say=say) as restorer:
        # What is wrong for every image is told before the first one is read.
        restorer.check(
            masked=masks is not None,
            schedule=args.schedule,
            blend=args.blend,
            prior=args.prior,
            color_fix=args.color_fix,
            prompt=args.prompt,
            tagger=args.tagger,
            rules=args.rules,
            scratch=args.scratch,
        )
        outcomes = restore_files(
            restorer, pairs, resume=args.resume, options=options, masks=masks, listen=line.update, note=note
        )
    line.clear()
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if args.json:
        print(json.dumps({"files": [_record(outcome) for outcome in outcomes]}, indent=1))
    else:
        for outcome in outcomes:
            print(_sentence(outcome), file=sys.stderr if outcome.status == "failed" else sys.stdout)
    if failed and len(outcomes) > 1:
        print(f"lqhq upscale: {len(failed)} of {len(outcomes)} files failed", file=sys.stderr)
    return 1 if failed else 0


def _record(outcome: Any) -> dict[str, Any]:
    return {
        "input": str(outcome.pair.source),
        "output": str(outcome.pair.target),
        "status": outcome.status,
        "seconds": round(outcome.seconds, 3),
        "size": outcome.size,
        "tiles": outcome.tiles,
        "error": outcome.error,
    }


def _sentence(outcome: Any) -> str:
    source, target = str(outcome.pair.source), clean(str(outcome.pair.target))
    if outcome.status == "failed":
        # Errors begin with what they are about, which may be the input itself.
        named = outcome.error.startswith(f"{source}: ")
        return "failed: " + clean(outcome.error if named else f"{source}: {outcome.error}")
    if outcome.status == "skipped":
        return f"skipped: {target} exists"
    width, height = outcome.size
    return f"{target}  {width}x{height}  {outcome.seconds:.1f} s"
