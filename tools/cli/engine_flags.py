"""The flags that say what runs a bundle's graphs, for `lqhq upscale` and `lqhq parity`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lqhq.runtime.engines import ENGINES
from lqhq.runtime.errors import OptionError
from lqhq.runtime.precision import PRECISIONS

__all__ = ["add_engine_flags", "add_precision_flag", "engine_options"]


def add_engine_flags(parser: argparse._ActionsContainer) -> None:
    """`--engine`, `--device`, `--profile`, `--cache`."""
    add = parser.add_argument
    add("--engine", choices=tuple(ENGINES), default="onnx", help="what runs the graphs (default: onnx)")
    add("--device", metavar="D", help="cpu, cuda, cuda:1 or auto (default: the engine's own)")
    add(
        "--profile",
        metavar="HxW@N",
        action="append",
        default=[],
        help="shapes that a TensorRT engine was built for, as `lqhq engines build` was told (default: as there)",
    )
    add("--cache", metavar="DIR", type=Path, help="where engines are kept")


def add_precision_flag(parser: argparse._ActionsContainer) -> None:
    """`--precision`."""
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the graphs (default: fp32)")


def engine_options(args: argparse.Namespace) -> dict[str, Any]:
    """The flags as arguments of `Restorer.open` and of `replay`. Raises `OptionError`."""
    from lqhq.runtime.profiles import parse_profile

    unused = {"--profile": args.profile, "--cache": args.cache}
    if args.engine == "onnx" and (given := [flag for flag, value in unused.items() if value]):
        raise OptionError(
            given[0],
            found="engine onnx, which is not built",
            expected="a TensorRT engine",
            mend="Give --engine tensorrt-rtx or tensorrt, or leave it out.",
        )
    return {
        "engine": args.engine,
        "device": args.device,
        "precision": args.precision,
        "threads": args.threads,
        "profiles": tuple(parse_profile(text) for text in args.profile),
        "cache": args.cache,
    }
