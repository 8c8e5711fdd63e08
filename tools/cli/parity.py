"""`lqhq parity`: compare a bundle with the PyTorch model it came from, or with the goldens that it carries."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.errors import OptionError
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.mask import hole_of
from lqhq.runtime.parity import Report
from lqhq.runtime.selfcheck import replay
from lqhq.tools.cli.columns import clean
from lqhq.tools.cli.model_flags import family_of, read_config, require_torch

if TYPE_CHECKING:
    from lqhq.export.validate import Photo

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq parity my-bundle                                  the stored reference arrays, no torch needed
  lqhq parity my-bundle --checkpoint model.pt --image photo.png
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="folder written by `lqhq export`, or `demo`")
    add("--checkpoint", metavar="CKPT", type=Path, help="what the bundle was exported from; needs torch")
    add("--config", metavar="FILE", type=Path, help="JSON that must agree with what the bundle was exported with")
    add("--image", metavar="FILE", action="append", type=Path, default=[], help="also compare on this image")
    add("--mask", metavar="FILE", action="append", type=Path, default=[], help="its hole, for bundles that take one")
    add("--threads", type=int, metavar="T", help="engine threads (default: all processors)")
    add("--json", action="store_true", help="report as JSON on standard output")


def main(args: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 when the verdict is negative."""
    bundle = open_bundle(args.bundle)
    if args.checkpoint is None:
        given = {"--image": args.image, "--mask": args.mask, "--config": args.config}
        if foreign := [flag for flag, value in given.items() if value]:
            raise OptionError(
                foreign[0],
                found="no --checkpoint",
                expected="the checkpoint that the bundle came from",
                mend="Give --checkpoint, or leave the option out.",
            )
        report = replay(bundle, threads=args.threads)
    else:
        report = _against_checkpoint(args, bundle)
    if args.json:
        sys.stdout.write(report.to_json().decode())
    else:
        # A case is named after its image, whose name may hold what drives a terminal.
        print("\n".join(clean(line) for line in report.table().splitlines()))
    return 0 if report.passed else 1


def _against_checkpoint(args: argparse.Namespace, bundle: Bundle) -> Report:
    """Rebuild the network from the settings that the bundle stores."""
    require_torch()
    from lqhq.export.load import load_model
    from lqhq.export.settings import merge_config
    from lqhq.export.validate import validate

    manifest = bundle.manifest
    photos = _photos(args, manifest)
    stored = manifest.provenance
    config = merge_config(stored.config, read_config(args.config))
    model = load_model(family_of(manifest.family), args.checkpoint, form=stored.format, config=config)
    if not {source.sha256 for source in model.sources} & {source.sha256 for source in stored.sources}:
        # The same weights may have been stored anew; the comparison itself tells.
        remark = clean(f"lqhq parity: {args.checkpoint} is not a file that the bundle was exported from")
        print(remark, file=sys.stderr)
    return validate(model.recipe, bundle, photos=photos, threads=args.threads)


def _photos(args: argparse.Namespace, manifest: Manifest) -> dict[str, Photo]:
    """The images by name, each with its hole where the bundle takes one. Raises `OptionError`, `ImageError`."""
    from lqhq.export.validate import Photo

    if len(args.mask) > len(args.image):
        raise OptionError(
            "--mask",
            found=f"{len(args.mask)} for {len(args.image)} images",
            expected="one for each --image, in their order",
            mend="Give --image as often as --mask.",
        )
    photos = {}
    for file, mask in itertools.zip_longest(args.image, args.mask):
        image = _rgb(file)
        hole = hole_of(None if mask is None else (_rgb(mask) > 0).max(axis=2), image, manifest)
        photos[file.name] = Photo(image, None if hole is None else np.where(hole, np.uint8(255), np.uint8(0)))
    return photos


def _rgb(file: Path) -> NDArray[np.uint8]:
    """An image file as `[H, W, 3]` uint8; alpha is left out, grey is repeated, 16 bits are cut to 8."""
    from lqhq.runtime.image_file import read_image

    pixels: NDArray[Any] = read_image(file).pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    colour = pixels[:, :, : 1 if pixels.shape[2] < 3 else 3]
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))
