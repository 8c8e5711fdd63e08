"""`lqhq export`: turn a trained checkpoint into a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from lqhq.tools.cli.model_flags import (
    FAMILIES,
    add_model_flags,
    family_of,
    read_config,
    require_torch,
    settings_of,
)

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq export indi unet_folder/ -o my-bundle --time-scale 1000 --schedule fast=steps:1,noise:none
  lqhq export indi ema_0.9999.pt -o my-bundle --config flags.json --schedule soft=steps:20,noise:const,eps:0.01
  lqhq export diffir net_g_latest.pth -o sharp
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
    add("--precision", choices=("fp32",), default="fp32", help="of the graph (default: fp32)")
    add("--overwrite", action="store_true", help="replace a bundle that is already there")


def main(args: argparse.Namespace) -> int:
    """Run the command. A failed parity is an exit code of 1; no bundle is written then."""
    require_torch()
    from lqhq.export.pipeline import ParityError, export_bundle

    try:
        export_bundle(
            family_of(args.family),
            args.checkpoint,
            args.output,
            form=args.format,
            config=read_config(args.config),
            flags=settings_of(args),
            overwrite=args.overwrite,
            say=lambda line: print(line, flush=True),
        )
    except ParityError as error:
        print(f"lqhq export: {error}", flush=True)
        return 1
    return 0
