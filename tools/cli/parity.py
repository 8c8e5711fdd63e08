"""`lqhq parity`: compare a bundle with the PyTorch model it came from, or with the goldens that it carries."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.errors import OptionError
from lqhq.runtime.parity import Report
from lqhq.runtime.precision import PRECISIONS
from lqhq.runtime.selfcheck import replay
from lqhq.tools.cli.columns import clean
from lqhq.tools.cli.engine_flags import add_engine_flags, add_precision_flag, engine_options
from lqhq.tools.cli.model_flags import add_file_flags, family_of, file_settings, read_config, require_torch
from lqhq.tools.cli.photo_flags import add_photo_flags, decibels, named_photos

if TYPE_CHECKING:
    from lqhq.export.load import Model

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq parity my-bundle                                  the stored reference arrays, no torch needed
  lqhq parity my-bundle --precision fp16                 half precision, emulated on this CPU
  lqhq parity my-bundle --checkpoint model.pt --image photo.png
  lqhq parity my-bundle --checkpoint model.pt --bisect-precision fp16 -o plan.json
"""
FILES = ("base", "ram", "dape", "tag_names", "tag_thresholds")  # as in export.settings, which needs torch
HALVES = tuple(precision for precision in PRECISIONS if precision != "fp32")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="folder written by `lqhq export`, or `demo`")
    add_precision_flag(parser)
    add("--threads", type=int, metavar="T", help="engine threads (default: all processors)")
    add("--json", action="store_true", help="report as JSON on standard output")
    group = parser.add_argument_group("with the checkpoint, which needs torch")
    add = group.add_argument
    add("--checkpoint", metavar="CKPT", type=Path, help="what the bundle was exported from")
    add("--config", metavar="FILE", type=Path, help="JSON that must agree with what the bundle was exported with")
    add_file_flags(group)
    add_photo_flags(group, purpose="also compare on this image; half precisions on it instead of the shipped photos")
    add("--least-psnr", type=decibels, metavar="DB", help="what a half precision must come to against fp32")
    add(
        "--bisect-precision",
        choices=HALVES,
        help="find what must stay in float32 for that precision, and write the plan to -o",
    )
    add("-o", "--output", metavar="FILE", type=Path, help="plan for `lqhq export --precision-plan`")
    add_engine_flags(parser.add_argument_group("with the arrays that the bundle carries"))


def main(args: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 when the verdict is negative."""
    bundle = open_bundle(args.bundle)
    _refuse_unused(args)
    if args.bisect_precision:
        if not args.output.parent.is_dir() or args.output.is_dir():
            raise OptionError(
                f"-o {args.output}", found="no place for a file", expected="a file", mend="Name one in a folder."
            )
        return _bisect(args, bundle)
    if args.checkpoint is None:
        say = partial(print, file=sys.stderr)
        report = replay(bundle, **engine_options(args), say=lambda line: say(clean(line)))
    else:
        report = _against_checkpoint(args, bundle)
    if args.json:
        sys.stdout.write(report.to_json().decode())
    else:
        # A case is named after its image, whose name may hold what drives a terminal.
        print("\n".join(clean(line) for line in report.table().splitlines()))
    return 0 if report.passed else 1


def _refuse_unused(args: argparse.Namespace) -> None:
    """Options that would do nothing are errors."""
    needs: dict[str, tuple[bool, dict[str, object]]] = {
        "--checkpoint, what the bundle came from": (
            args.checkpoint is not None,
            {
                "--image": args.image,
                "--mask": args.mask,
                "--config": args.config,
                **{f"--{key.replace('_', '-')}": getattr(args, key) for key in FILES},
                "--least-psnr": args.least_psnr is not None,
                "--bisect-precision": args.bisect_precision,
            },
        ),
        "--bisect-precision": (args.bisect_precision is not None, {"-o": args.output}),
        "-o FILE, where the plan is written": (
            args.output is not None,
            {"--bisect-precision": args.bisect_precision},
        ),
        "no --checkpoint, which is compared on ONNX Runtime's CPU": (
            args.checkpoint is None,
            {
                "--engine": args.engine != "onnx",
                "--device": args.device,
                "--profile": args.profile,
                "--cache": args.cache,
            },
        ),
        "no --bisect-precision, which names the precision and writes its plan": (
            args.bisect_precision is None,
            {"--precision": args.precision != "fp32", "--json": args.json, "--threads": args.threads is not None},
        ),
        "a half --precision, or --bisect-precision": (
            args.precision != "fp32" or args.bisect_precision is not None,
            {"--least-psnr": args.least_psnr is not None},
        ),
    }
    for expected, (there, options) in needs.items():
        for flag, value in options.items():
            if value and not there:
                raise OptionError(
                    flag,
                    found="it beside what does not use it" if expected.startswith("no ") else "it alone",
                    expected=expected if expected.startswith("no ") else f"it with {expected}",
                    mend="Leave one of the two out." if expected.startswith("no ") else "Give both, or leave it out.",
                )


def _model(args: argparse.Namespace, bundle: Bundle) -> Model:
    """The network, rebuilt from the settings that the bundle stores."""
    require_torch()
    from lqhq.export.load import load_model
    from lqhq.export.settings import merge_config

    stored = bundle.manifest.provenance
    config = merge_config(stored.config, read_config(args.config))
    family, files = family_of(bundle.manifest.family), file_settings(args)
    model = load_model(family, args.checkpoint, form=stored.format, config=config, flags=files)
    if not {source.sha256 for source in model.sources} & {source.sha256 for source in stored.sources}:
        # The same weights may have been stored anew; the comparison itself tells.
        remark = clean(f"lqhq parity: {args.checkpoint} is not a file that the bundle was exported from")
        print(remark, file=sys.stderr)
    return model


def _against_checkpoint(args: argparse.Namespace, bundle: Bundle) -> Report:
    """Of a half precision with the islands that the bundle's plan names."""
    recipe, photos = _model(args, bundle).recipe, named_photos(args)
    from lqhq.export.judged_images import judged_images
    from lqhq.export.validate import validate
    from lqhq.export.validate_half import validate_half

    if args.precision == "fp32":
        return validate(recipe, bundle, photos=photos, threads=args.threads)
    plans = {graph.role: bundle.graph(graph.role, args.precision).graph.plan for graph in recipe.graphs}
    islands = {role: plan.islands for role, plan in plans.items() if plan}
    images = judged_images(recipe, bundle.manifest, photos)
    options = {"images": images, "least_psnr": args.least_psnr, "threads": args.threads}
    return validate_half(recipe, bundle, args.precision, islands=islands, **options).report


def _bisect(args: argparse.Namespace, bundle: Bundle) -> int:
    recipe, photos = _model(args, bundle).recipe, named_photos(args)
    from lqhq.export.bisect_precision import bisect_precision
    from lqhq.export.half_settings import write_plan
    from lqhq.export.judged_images import judged_images

    plan = bisect_precision(
        recipe,
        bundle,
        args.bisect_precision,
        images=judged_images(recipe, bundle.manifest, photos),
        least_psnr=args.least_psnr,
        say=lambda line: print(clean(line), flush=True),
    )
    write_plan(plan, args.output)
    print(f"{plan.psnr:.1f} dB; wrote {clean(str(args.output))}: give it to `lqhq export --precision-plan`")
    return 0
