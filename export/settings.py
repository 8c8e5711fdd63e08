"""What the weights cannot say: time scale, schedules, scale, pixels, licences. From `--config`, or from flags.

Nothing here is guessed: a missing value is an error that names the key and the flag; values given twice agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lqhq.runtime.errors import CheckpointError, OptionError
from lqhq.runtime.manifest import Licence, Pixels

__all__ = [
    "DIFFUSION",
    "FILES",
    "JOINED",
    "Sampling",
    "Settings",
    "Task",
    "TileSettings",
    "foreign_setting",
    "join",
    "merge_config",
    "split_config",
]

NoiseRule = Literal["none", "const", "brownian", "renoise"]
Finite = Annotated[float, Meta(ge=-1e9, le=1e9)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Side = Annotated[int, Meta(ge=1, le=1 << 16)]
Task = Literal["super-resolution", "restoration", "deblurring", "inpainting", "degradation"]


# Of models of several checkpoints: where the others lie, and what else is theirs.
FILES = ("base", "dape", "ram", "tag_names", "tag_thresholds")
JOINED = (*FILES, "prompt", "process_size")
# Of models that are sampled from part of the way: which sampler, how cut into steps, which of the stored weights.
DIFFUSION = ("sampler", "steps", "eta", "spacing", "final_sigmas", "respacing", "max_strength", "weights")


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Immutable, named, closed; what equals its default is not written."""


class Sampling(Strict, frozen=True, kw_only=True):
    """One named way to sample: `steps` uniform steps, or a `grid` of times from 1 to 0 (one more than steps).

    `noise` is the rule, `eps` its size in the network's pixel range, `clip` the bound on the network's output
    ("none" says that there is none even where `clip_denoised` is set).
    """

    steps: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    grid: tuple[Finite, ...] | None = None
    noise: NoiseRule | None = None
    eps: Annotated[float, Meta(ge=0, le=1e3)] | None = None
    clip: Positive | Literal["none"] | None = None

    @property
    def bound(self) -> float | None:
        return None if self.clip is None or isinstance(self.clip, str) else self.clip


class TileSettings(Strict, frozen=True, kw_only=True):
    """Overrides of the network's own tile hints, in pixels of the prepared image."""

    preferred: Side | None = None
    overlap: Annotated[int, Meta(ge=0, le=1 << 16)] | None = None
    blend: Literal["each", "final"] | None = None
    trained: Side | None = None


class Settings(Strict, frozen=True, kw_only=True):
    """lqhq's own keys of a config file. None means not given.

    `time_scale`: the network is fed t * time_scale, t in (0, 1]. `eps` and `clip_denoised` are for schedules that
    do not state their own. `state_key` and `key_prefix` choose the tensors inside the file. From `base` on they are for
    models of several checkpoints: where the others lie, the prompt to fold in, the side that small images are enlarged
    to after the enlargement. From `sampler` on they are for models that start part of the way: `steps` nominal steps,
    of which a strength up to `max_strength` runs the last ones; `respacing` is guided-diffusion's way to cut them.
    """

    time_scale: Positive | None = None
    schedules: Annotated[dict[Name, Sampling], Meta(min_length=1, max_length=64)] | None = None
    default_schedule: Name | None = None
    eps: Annotated[float, Meta(ge=0, le=1e3)] | None = None
    clip_denoised: bool | None = None
    scale: Annotated[int, Meta(ge=1, le=16)] | None = None
    resize: Literal["bicubic", "bicubic_075"] | None = None
    pixels: Pixels | None = None
    quantize: Literal["round", "truncate"] | None = None
    tiles: TileSettings | None = None
    licences: tuple[Licence, ...] | None = None
    name: Name | None = None
    task: Task | None = None
    state_key: str | None = None
    key_prefix: str | None = None
    base: str | None = None
    dape: str | None = None
    ram: str | None = None
    tag_names: str | None = None
    tag_thresholds: str | None = None
    prompt: Annotated[str, Meta(max_length=4096)] | None = None
    process_size: Side | None = None
    sampler: Literal["unipc", "ddpm", "ddim"] | None = None
    steps: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    eta: Annotated[float, Meta(ge=0, le=1)] | None = None
    spacing: Literal["leading", "linspace", "trailing"] | None = None
    final_sigmas: Literal["zero", "sigma_min"] | None = None
    respacing: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    max_strength: Annotated[float, Meta(gt=0, le=1)] | None = None
    weights: Literal["ema", "model"] | None = None


def merge_config(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both configs together; schedules are joined by name. Raises `CheckpointError` where they disagree."""
    merged = {**first, **second}
    for key in first.keys() & second.keys():
        ours, theirs = first[key], second[key]
        if key == "schedules" and isinstance(ours, dict) and isinstance(theirs, dict):
            merged[key] = merge_config(ours, theirs)
        elif ours != theirs:
            raise CheckpointError(
                f"--config: {key}",
                found=f"{theirs!r} here and {ours!r} in the checkpoint's own config.json",
                expected="one value",
                mend="Remove one of the two.",
            )
    return merged


def split_config(config: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """lqhq's own keys, checked, and the rest, which belongs to the network. Raises `CheckpointError`."""
    own = {key: value for key, value in config.items() if key in Settings.__struct_fields__}
    rest = {key: value for key, value in config.items() if key not in own}
    try:
        return msgspec.convert(own, Settings), rest
    except msgspec.ValidationError as error:
        raise CheckpointError(
            "--config",
            found=str(error),
            expected="lqhq's keys with fitting values",
            mend="docs/guide/export.md lists the keys and their values.",
        ) from error


def join(file: Settings, flags: Settings) -> Settings:
    """Flags over file. Raises `OptionError` where both give a value and the values differ."""
    fields = {}
    for key in Settings.__struct_fields__:
        ours, theirs = getattr(file, key), getattr(flags, key)
        if key == "schedules" and ours and theirs:
            theirs = _joined_schedules(ours, theirs)
        elif None not in (ours, theirs) and ours != theirs:
            raise _conflict(f"--{key.replace('_', '-')}", ours, theirs)
        fields[key] = ours if theirs is None else theirs
    return Settings(**fields)


def _joined_schedules(file: dict[str, Sampling], flags: dict[str, Sampling]) -> dict[str, Sampling]:
    for name in file.keys() & flags.keys():
        if file[name] != flags[name]:
            raise _conflict(f"--schedule {name}", file[name], flags[name])
    return {**file, **flags}


def _conflict(flag: str, file: object, given: object) -> OptionError:
    return OptionError(
        flag, found=f"{given!r}, but {file!r} in the config", expected="one value", mend="Remove one of the two."
    )


def foreign_setting(family: str, key: str) -> OptionError:
    """The error for a setting that models of `family` do not take."""
    return OptionError(
        f"--{key.replace('_', '-')}",
        found="a value, in --config or as a flag",
        expected=f"none: a model of {family} takes no {key.replace('_', ' ')}",
        mend="Leave it out.",
    )
