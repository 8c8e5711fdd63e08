"""From a path and a config to a network with everything that an export must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lqhq.export.checkpoint import Checkpoint, open_checkpoint
from lqhq.export.detect import detect
from lqhq.export.family import Family, Network, Weights
from lqhq.export.settings import Sampling, Settings, join, merge_config, require, sampling, split_config
from lqhq.export.state_dict import select_prefix, strip_wrappers
from lqhq.runtime.manifest import SourceFile

__all__ = ["Model", "load_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A network, its completed settings and samplings, and where all of it came from.

    `config` is what a `--config` file would have to hold to load the same checkpoint in the same way again.
    """

    family: Family
    format: str
    network: Network
    settings: Settings
    samplings: Mapping[str, Sampling]
    sources: tuple[SourceFile, ...]
    config: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def time_scale(self) -> float:
        return self.settings.time_scale or 1.0

    @property
    def scale(self) -> int:
        return self.settings.scale or 1

    @property
    def default_schedule(self) -> str:
        """The named default, or the first schedule that was given."""
        return self.settings.default_schedule or next(iter(self.samplings))


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
    early, _ = split_config(given)
    checkpoint = open_checkpoint(path, state_key=early.state_key)
    merged = merge_config(checkpoint.config, given)
    settings, network_part = split_config(merged)
    settings = join(settings, flags or Settings())
    notes = list(checkpoint.notes)
    weights = _weights(checkpoint, merged, settings, notes)
    chosen = detect(family, weights, form)
    network = chosen.load(weights, network_part)
    require(settings)
    samplings = {name: sampling(name, item, settings) for name, item in (settings.schedules or {}).items()}
    for item in samplings.values():
        family.schedule(item)  # an impossible one is told now, not after minutes of tracing
    return Model(
        family=family,
        format=chosen.name,
        network=network,
        settings=settings,
        samplings=samplings,
        sources=checkpoint.sources,
        config=_as_told(merged, flags or Settings()),
        notes=(*notes, *network.notes),
    )


def _as_told(config: Mapping[str, Any], flags: Settings) -> dict[str, Any]:
    """Config and flags as one config, in the words that were given, so that it agrees with the same file again."""
    told = msgspec.to_builtins(flags)
    schedules = {**(config.get("schedules") or {}), **told.get("schedules", {})}
    return {**config, **told, "schedules": schedules}


def _weights(checkpoint: Checkpoint, config: Mapping[str, Any], settings: Settings, notes: list[str]) -> Weights:
    where = str(checkpoint.path)
    tensors = strip_wrappers(checkpoint.tensors, notes)
    if settings.key_prefix:
        tensors = select_prefix(where, tensors, settings.key_prefix, notes)
    return Weights(where=where, tensors=tensors, config=config)
