"""The flags that say how files are restored, for `lqhq upscale` and `lqhq client restore`."""

from __future__ import annotations

import argparse

from lqhq.tools.cli.whole_number import whole_number

__all__ = ["OPTIONS", "add_batch_flags", "add_restore_flags"]

# What `Restorer.restore` and `Client.restore` take under the same name.
OPTIONS = (
    *("schedule", "seed", "tile", "overlap", "blend", "color_fix", "prior"),
    *("prompt", "tagger", "rules"),
)
SEEDS = 2**64 - 1
PIXELS = 2**31 - 1  # of a side; the image libraries count no further


def add_batch_flags(parser: argparse.ArgumentParser) -> None:
    """Inputs, `--output`, `--resume`, `--json`."""
    add = parser.add_argument
    add("inputs", metavar="INPUT", nargs="+", help="image files, folders, or quoted patterns")
    add("-o", "--output", required=True, metavar="FILE_OR_DIR", help="result file (one input) or folder")
    add(
        "--resume",
        action="store_true",
        help="skip results that exist and are not older, whatever settings made them",
    )
    add("--json", action="store_true", help="report as JSON on standard output")


def add_restore_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `OPTIONS`, and `--mask`."""
    add = parser.add_argument
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


def _tile(text: str) -> int | str:
    return text if text == "auto" else whole_number(1, PIXELS)(text)
