"""`lqhq export`: turn a trained checkpoint into a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import LqhqError, OptionError
from lqhq.runtime.precision import LEAST_PSNR, PRECISIONS, Precision
from lqhq.tools.cli.build_engines import FLAVOURS, add_build_flags, build_engines, require_builder
from lqhq.tools.cli.model_flags import (
    FAMILIES,
    add_model_flags,
    family_of,
    read_config,
    require_torch,
    settings_of,
)
from lqhq.tools.cli.photo_flags import add_photo_flags, decibels, named_photos

if TYPE_CHECKING:
    from lqhq.export.half_settings import HalfSettings, IslandPlan

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq export indi unet_folder/ -o my-bundle --time-scale 1000 --schedule fast=steps:1,noise:none
  lqhq export indi ema_0.9999.pt -o my-bundle --config flags.json --schedule soft=steps:20,noise:const,eps:0.01
  lqhq export diffir net_g_latest.pth -o sharp
  lqhq export osediff osediff.pkl --base stable-diffusion-2-1-base/ -o real --precision fp16
  lqhq export lq-ddpm checkpoint-50000/ -o photos-lq
  lqhq export diffir net_g_latest.pth -o sharp --precision fp16 --engine tensorrt-rtx --target sm86,sm89,sm120
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("family", metavar="FAMILY", help=f"kind of model: {', '.join(FAMILIES)}")
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="weights file or model folder")
    add("-o", "--output", required=True, metavar="BUNDLE", type=Path, help="folder to write")
    add_model_flags(parser)
    add("--overwrite", action="store_true", help="replace a bundle that is already there")
    group = parser.add_argument_group("half precision, checked against float32 by emulation on this CPU")
    add = group.add_argument
    add(
        "--precision",
        type=_precisions,
        default=("fp32",),
        metavar="P,...",
        help="of the graphs: fp16, bf16, or both; fp32 is always there, since parity is judged by it",
    )
    add_photo_flags(group, purpose="check half precision on this photo; may be repeated (default: shipped ones)")
    add("--least-psnr", type=decibels, metavar="DB", help=f"that finished images must come to (default: {_bounds()})")
    add(
        "--precision-plan",
        metavar="FILE",
        action="append",
        type=Path,
        default=[],
        help="what stays in float32, from `lqhq parity --bisect-precision`; one for each precision at most",
    )

    group = parser.add_argument_group("engines, built from the bundle once it is there")
    group.add_argument("--engine", choices=FLAVOURS, help="what to build, in every precision that --precision names")
    add_build_flags(group)


def _bounds() -> str:
    return ", ".join(f"{precision} {least:g}" for precision, least in LEAST_PSNR.items())


def _precisions(text: str) -> tuple[Precision, ...]:
    """Raises `argparse.ArgumentTypeError`, which argparse prints."""
    words = text.split(",")
    found = tuple(one for one in PRECISIONS if one in words)
    if len(found) != len(words):
        raise argparse.ArgumentTypeError(f"{text!r}: expected some of {', '.join(PRECISIONS)}, each once")
    return found


def _refuse_unused(args: argparse.Namespace) -> None:
    """Options that would do nothing are errors."""
    if args.engine is None:
        for flag, value in {"--target": args.target, "--profile": args.profile, "--cache": args.cache}.items():
            if value:
                raise OptionError(flag, found="no --engine", expected="it with --engine", mend="Give both or neither.")
    if any(precision != "fp32" for precision in args.precision):
        return
    given = {
        "--image": args.image,
        "--mask": args.mask,
        "--least-psnr": args.least_psnr is not None,
        "--precision-plan": args.precision_plan,
    }
    for flag, value in given.items():
        if value:
            raise OptionError(
                flag, found="fp32 alone", expected="a half precision", mend="Give --precision fp16, or leave it out."
            )


def _half(args: argparse.Namespace) -> HalfSettings:
    from lqhq.export.half_settings import HalfSettings, read_plan

    plans: dict[Precision, IslandPlan] = {}
    for file in args.precision_plan:
        plan = read_plan(file)
        if plan.precision not in args.precision or plan.precision in plans:
            raise OptionError(
                f"--precision-plan {file}",
                found=f"a plan for {plan.precision}",
                expected="one for each precision that is exported, at most",
                mend=f"Add {plan.precision} to --precision, or leave the plan out.",
            )
        plans[plan.precision] = plan
    return HalfSettings(plans=plans, photos=named_photos(args) or None, least_psnr=args.least_psnr)


def main(args: argparse.Namespace) -> int:
    """Run the command. A failed parity is an exit code of 1; no bundle is written then."""
    require_torch()
    _refuse_unused(args)
    if args.engine:
        require_builder(args)
    from lqhq.export.pipeline import ParityError, export_bundle

    try:
        path, _ = export_bundle(
            family_of(args.family),
            args.checkpoint,
            args.output,
            form=args.format,
            config=read_config(args.config),
            flags=settings_of(args),
            precisions=args.precision,
            half=_half(args),
            overwrite=args.overwrite,
            say=lambda line: print(line, flush=True),
        )
    except ParityError as error:
        print(f"lqhq export: {error}", flush=True)
        return 1
    if args.engine:
        bundle = open_bundle(path)
        try:
            for precision in args.precision:
                build_engines(bundle, args, precision=precision)
        except LqhqError:
            print(f"{path} is written, and whole; its engines are not all built:", flush=True)
            raise
    return 0
