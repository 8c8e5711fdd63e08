"""From a path and a config to a network with everything that an export must know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lqhq.export.checkpoint import Checkpoint, open_checkpoint
from lqhq.export.detect import detect
from lqhq.export.family import Family, Joined, Located, Network, Recipe, Weights
from lqhq.export.settings import (
    DIFFUSION,
    FILES,
    JOINED,
    Settings,
    foreign_setting,
    join,
    merge_config,
    split_config,
)
from lqhq.export.state_dict import select_prefix, strip_wrappers
from lqhq.runtime.errors import CheckpointError, OptionError
from lqhq.runtime.manifest import SourceFile

__all__ = ["Model", "load_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A network, what it becomes, by which settings, and where all of it came from.

    `config` is what a `--config` file would have to hold to load the same checkpoint in the same way again.
    """

    family: Family
    format: str
    network: Network
    recipe: Recipe
    settings: Settings
    sources: tuple[SourceFile, ...]
    config: Mapping[str, Any]
    notes: tuple[str, ...]


def load_model(
    family: Family,
    path: Path,
    *,
    form: str | None = None,
    config: Mapping[str, Any] | None = None,
    flags: Settings | None = None,
) -> Model:
    """Load a checkpoint strictly. `config` is the content of `--config`; `flags` must agree with it.

    Raises `CheckpointError` or `OptionError`, with what was found, what was expected and how to mend it.
    """
    given = dict(config or {})
    if family.joined is not None:
        return _joined(family, family.joined, path, form, given, flags or Settings())
    early, _ = split_config(given)
    found = Located(path=path, config=given, nested_keys=family.nested_keys)
    if family.locate is not None:
        found = family.locate(path, given, join(early, flags or Settings()))
    checkpoint = open_checkpoint(
        found.path,
        state_key=found.state_key or early.state_key,
        nested=found.nested_keys,
        config_json=family.config_json,
    )
    merged = merge_config(checkpoint.config, found.config)
    settings, network_part = split_config(merged)
    settings = join(settings, flags or Settings())
    for key in (*JOINED, *(DIFFUSION if family.locate is None else ())):
        if getattr(settings, key) is not None:
            raise foreign_setting(family.name, key)
    notes = [*found.notes, *checkpoint.notes]
    weights = _weights(checkpoint, merged, settings, notes)
    chosen = detect(family, weights, form)
    network = chosen.load(weights, network_part)
    return Model(
        family=family,
        format=chosen.name,
        network=network,
        recipe=family.recipe(network, settings),
        settings=settings,
        sources=(*found.sources, *checkpoint.sources),
        config=_as_told(merged, flags or Settings()),
        notes=(*notes, *network.notes),
    )


def _joined(
    family: Family,
    load: Callable[[Path, Settings], Joined],
    path: Path,
    form: str | None,
    config: dict[str, Any],
    flags: Settings,
) -> Model:
    """A model of several checkpoints. Where they lie is no part of what the bundle remembers."""
    settings, rest = split_config(config)
    if rest:
        raise CheckpointError(
            "--config",
            found=f"keys {', '.join(sorted(rest))}",
            expected="lqhq's own: the checkpoints carry their configs with them",
            mend="Remove them.",
        )
    settings = join(settings, flags)
    found = load(path, settings)
    if form not in (None, found.format):
        raise OptionError("--format", found=repr(form), expected=found.format, mend="Leave it out.")
    told = _as_told(config, flags)
    return Model(
        family=family,
        format=found.format,
        network=found.network,
        recipe=family.recipe(found.network, settings),
        settings=settings,
        sources=found.sources,
        config={key: value for key, value in told.items() if key not in FILES},
        notes=found.network.notes,
    )


def _as_told(config: Mapping[str, Any], flags: Settings) -> dict[str, Any]:
    """Config and flags as one config, in the words that were given, so that it agrees with the same file again."""
    told = msgspec.to_builtins(flags)
    schedules = {**(config.get("schedules") or {}), **told.get("schedules", {})}
    return {**config, **told, **({"schedules": schedules} if schedules else {})}


def _weights(checkpoint: Checkpoint, config: Mapping[str, Any], settings: Settings, notes: list[str]) -> Weights:
    where = str(checkpoint.path)
    tensors = strip_wrappers(checkpoint.tensors, notes)
    if settings.key_prefix:
        tensors = select_prefix(where, tensors, settings.key_prefix, notes)
    return Weights(where=where, tensors=tensors, config=config)
