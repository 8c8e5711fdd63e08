"""What a caller may ask of a restoration, checked against what the bundle takes, before any work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

from lqhq.runtime.colour import ColourFix
from lqhq.runtime.errors import OptionError
from lqhq.runtime.manifest import Manifest

__all__ = ["Rules", "blend_of", "check_scratch", "colour_of", "foreign", "prior_of", "rules_of"]

Rules = Literal["default", "original"]


def foreign(manifest: Manifest, name: str, value: object) -> OptionError:
    """The error for an option that the bundle does not take."""
    return OptionError(
        name,
        found=repr(value),
        expected=f"none: {manifest.name!r} takes no {name}",
        mend="Leave it out, or use a bundle that takes it (`lqhq inspect` says).",
    )


def rules_of(manifest: Manifest, rules: str | None) -> Rules:
    """How sizes and levels are treated: by ours, or as the model's own program does. Raises `OptionError`."""
    if rules in (None, "default"):
        return "default"
    if rules != "original":
        raise OptionError("rules", found=repr(rules), expected="'default' or 'original'", mend="Leave it out: default.")
    if manifest.original is None:
        raise foreign(manifest, "rules", rules)
    return "original"


def prior_of(manifest: Manifest, prior: str | None) -> str:
    """Whose prior tiles take: "image" (where none is named) or "tile". Raises `OptionError`."""
    if prior is not None and "reduce" not in manifest.graphs:
        raise foreign(manifest, "prior", prior)
    if prior not in (None, "image", "tile"):
        raise OptionError(
            "prior", found=repr(prior), expected="'image' or 'tile'", mend="Leave it out: one for the image."
        )
    return prior or "image"


def colour_of(manifest: Manifest, kind: str | None) -> ColourFix | None:
    """The colour fix, the bundle's own where `kind` is None; None for "none". Raises `OptionError`."""
    if kind is None:
        return manifest.colour.kind if manifest.colour else None
    if kind == "none":
        return None
    if manifest.masked:  # it would change what is kept, and measure what is to be replaced
        raise foreign(manifest, "color_fix", kind)
    for known in get_args(ColourFix):
        if kind == known:
            fix: ColourFix = known
            return fix
    raise OptionError(
        "color_fix",
        found=repr(kind),
        expected=f"none, {' or '.join(get_args(ColourFix))}",
        mend="Leave it out for the bundle's own.",
    )


def check_scratch(manifest: Manifest, scratch: Path | None) -> None:
    """Raise `OptionError` for a scratch folder where none is used, or that cannot be written to."""
    if scratch is None:
        return
    if manifest.latent is None:
        raise foreign(manifest, "scratch", str(scratch))
    if not (scratch.is_dir() and os.access(scratch, os.W_OK | os.X_OK)):
        raise OptionError(
            "scratch",
            found=f"{str(scratch)!r}, {'which may not be written to' if scratch.exists() else 'which is not there'}",
            expected="a folder on a disk with room",
            mend="Make it, or name another; without --scratch it is the system's.",
        )


def blend_of(manifest: Manifest, blend: str | None) -> str:
    """When tiles are blended, as the bundle says where `blend` is None. Raises `OptionError`."""
    blend = manifest.tiles.blend if blend is None else blend
    if blend not in ("each", "final"):
        raise OptionError(
            "blend", found=repr(blend), expected="'each' or 'final'", mend="Leave it out for the bundle's own."
        )
    if blend == "each" and "denoise" not in manifest.graphs:
        raise OptionError(
            "blend",
            found="'each'",
            expected="'final': this bundle restores in one step",
            mend="Leave it out; there is nothing to blend in between.",
        )
    if blend == "final" and manifest.latent is not None:
        raise OptionError(
            "blend",
            found="'final'",
            expected="'each': latents are blended before they become pixels",
            mend="Leave it out; the canvas of latents is small.",
        )
    return blend
