"""`lqhq upscale`: restore image files with a bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lqhq.tools.cli.columns import clean
from lqhq.tools.cli.engine_flags import add_engine_flags, add_precision_flag, engine_options
from lqhq.tools.cli.memory_size import memory_size
from lqhq.tools.cli.progress import ProgressLine
from lqhq.tools.cli.restore_flags import OPTIONS, add_batch_flags, add_restore_flags
from lqhq.tools.cli.whole_number import whole_number

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq upscale demo photo.jpg -o photo_x4.png
  lqhq upscale demo scans/ -o restored/ --resume
  lqhq upscale my-bundle 'film/*.tif' -o out/ --schedule quality --memory 4G
  lqhq upscale osediff-bundle photo.jpg -o out.png --prompt "a stone house, trees"
  lqhq upscale inpainting-bundle photo.png --mask scratches.png -o repaired.png
"""
THREADS = 256  # more than machines have; a thousand times as many would take the machine down


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="folder written by `lqhq export`, or `demo`")
    add_batch_flags(parser)
    add_restore_flags(parser)
    add("--memory", type=memory_size, metavar="M", help="budget, like 1.5G (default: 80%% of what is free)")
    add("--threads", type=whole_number(1, THREADS), metavar="T", help="engine threads (default: all processors)")
    add_precision_flag(parser)
    add_engine_flags(parser)
    add("--scratch", metavar="DIR", type=Path, help="folder for what --memory does not hold (default: the system's)")


def main(args: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 when a file failed."""
    from lqhq.runtime.batch import restore_files
    from lqhq.runtime.file_plan import plan_files
    from lqhq.runtime.image_file import SUFFIXES
    from lqhq.runtime.mask_files import plan_masks
    from lqhq.runtime.restorer import Restorer
    from lqhq.tools.cli.batch_report import print_report

    pairs = plan_files(args.inputs, args.output, SUFFIXES, beside=args.mask)
    line = ProgressLine(sys.stderr, len(pairs))
    masks = None if args.mask is None else plan_masks(pairs, args.mask, SUFFIXES)
    options: dict[str, Any] = {name: getattr(args, name) for name in (*OPTIONS, "memory", "scratch")}

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
    return print_report("upscale", outcomes, as_json=args.json)
