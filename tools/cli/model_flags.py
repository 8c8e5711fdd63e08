"""The flags that describe a checkpoint, for `lqhq export` and `lqhq parity`. Imports torch only when used."""

from __future__ import annotations

import argparse
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqhq.runtime.errors import EngineError, OptionError
from lqhq.tools.cli.schedule_text import schedule_text

if TYPE_CHECKING:
    from lqhq.export.family import Family
    from lqhq.export.settings import Settings

__all__ = [
    "add_file_flags",
    "add_model_flags",
    "family_of",
    "file_settings",
    "read_config",
    "require_torch",
    "settings_of",
]

FAMILIES = ("indi", "diffir", "osediff", "lq-ddpm")  # for the help text only: the real list needs torch
PACKAGES = ("torch", "onnx", "onnxscript", "safetensors", "diffusers", "tokenizers")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """`--format`, `--config`, `--name`, `--scale`, and what InDI, OSEDiff and LQ-DDPM need besides."""
    add = parser.add_argument
    add("--format", metavar="F", help="how the checkpoint is stored; found out where only one format fits")
    add("--config", metavar="FILE", type=Path, help="JSON with what the weights cannot tell")
    add("--name", metavar="NAME", help="the bundle's name (default: its folder's)")
    group = parser.add_argument_group("what an indi checkpoint cannot tell (a diffir one tells it all)")
    add = group.add_argument
    add("--time-scale", type=float, metavar="X", help="the network is fed t * X, t in (0, 1]")
    add(
        "--schedule",
        action="append",
        type=schedule_text,
        metavar="NAME=...",
        help="a way to sample, like fast=steps:1,noise:none or soft=steps:20,noise:brownian,eps:0.01; "
        "repeat for more; the first is the default",
    )
    add(
        "--scale",
        type=int,
        metavar="N",
        help="enlarge the image N times before the network (default: 1; osediff: 4, and 1 for faces)",
    )
    add("--resize", choices=("bicubic", "bicubic_075"), help="how: a = -0.5 as Pillow, or -0.75 as OpenCV")
    group = parser.add_argument_group("what an osediff checkpoint needs besides")
    add_file_flags(group)
    add = group.add_argument
    add("--prompt", metavar="TEXT", help="fold this prompt in: faster, and the bundle takes no other")
    add("--process-size", type=int, metavar="N", help="side that small images are enlarged to first (default: 512)")
    _add_diffusion_flags(parser.add_argument_group("how lq-ddpm makes low-quality images (the checkpoint's own way)"))


def _add_diffusion_flags(group: argparse._ActionsContainer) -> None:
    """What is not told is the checkpoint's own, and the released program's."""
    add = group.add_argument
    add("--weights", choices=("ema", "model"), help="averaged ones, or those of the last step (default: ema if there)")
    add("--sampler", choices=("unipc", "ddpm", "ddim"), help="(default: unipc for diffusers' checkpoints)")
    add("--steps", type=int, metavar="N", help="nominal steps, of which the last ones are run (default: 50)")
    add("--max-strength", type=float, metavar="S", help="the most that is run: int(N * S) steps (default: 0.25)")
    add("--eta", type=float, metavar="X", help="noise of ddim, 0 to 1 (default: 0)")
    add("--spacing", choices=("leading", "linspace", "trailing"), help="of diffusers' timesteps, over its config")
    add("--final-sigmas", choices=("zero", "sigma_min"), help="where unipc ends (default: sigma_min, as in 2023)")
    add("--respacing", metavar="TEXT", help="guided-diffusion's timestep_respacing, like 50 or ddim25 or 10,15,25")
    add("--channel-order", choices=("rgb", "bgr"), help="what the network is fed; bgr is the released program's slip")


def add_file_flags(parser: argparse._ActionsContainer) -> None:
    """Where the other checkpoints of a model lie. A bundle does not remember it."""
    add = parser.add_argument
    add("--base", metavar="DIR", help="diffusers folder of the base model, SD-2.1-base")
    add("--ram", metavar="FILE", help="the tagger's weights, ram_swin_large_14m.pth; needs --dape")
    add("--dape", metavar="FILE", help="the tagger's adapter, DAPE.pth")
    add("--tag-names", metavar="FILE", help="names of tags (default: ram_tag_list.txt beside --ram)")
    add("--tag-thresholds", metavar="FILE", help="their thresholds (default: ram_tag_list_threshold.txt beside --ram)")


def require_torch() -> None:
    """Raise `EngineError` with the command that installs what is missing."""
    missing = [name for name in PACKAGES if util.find_spec(name) is None]
    if missing:
        raise EngineError(
            "export",
            found=f"no {', '.join(missing)}",
            expected="PyTorch and its exporter",
            mend="Install them, in lqhq's source folder: pip install '.[export]'.",
        )


def family_of(name: str) -> Family:
    """The family of that name. Raises `OptionError`."""
    from lqhq.export.families import FAMILIES as DECLARED

    for family in DECLARED:
        if family.name == name:
            return family
    raise OptionError(
        "FAMILY",
        found=repr(name),
        expected=" or ".join(family.name for family in DECLARED),
        mend="Give one of these.",
    )


def read_config(file: Path | None) -> dict[str, Any]:
    """The content of `--config`. Raises `CheckpointError`."""
    from lqhq.export.config_file import read_json_object

    return read_json_object(file) if file else {}


def file_settings(args: argparse.Namespace) -> Settings:
    """The flags of `add_file_flags`."""
    from lqhq.export.settings import FILES, Settings

    return Settings(**{key: getattr(args, key) for key in FILES})


def settings_of(args: argparse.Namespace) -> Settings:
    """The flags as settings, checked like a config file. Raises `OptionError`."""
    import msgspec

    from lqhq.export.settings import DIFFUSION, JOINED, Settings

    fields: dict[str, Any] = {
        key: getattr(args, key)
        for key in ("time_scale", "scale", "resize", "name", *JOINED, *DIFFUSION)
        if getattr(args, key) is not None
    }
    if args.channel_order:
        fields["pixels"] = {"range": (-1.0, 1.0), "order": args.channel_order}
    for name, body in args.schedule or ():
        if name in fields.setdefault("schedules", {}):
            raise OptionError(
                "--schedule", found=f"{name!r} twice", expected="each name once", mend="Rename one of the two."
            )
        fields["schedules"][name] = body
    try:
        return msgspec.convert(fields, Settings)
    except msgspec.ValidationError as error:
        raise OptionError(
            "flags", found=str(error), expected="fitting values", mend="`lqhq export --help` describes them."
        ) from error
