"""Which network of a training's folder is meant, and the scheduler's configuration that lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lqhq.export.checkpoint import source_file
from lqhq.export.config_file import read_json_object
from lqhq.export.families.lq_ddpm.scheduler_config import SCHEDULER
from lqhq.export.family import Located
from lqhq.export.settings import Settings
from lqhq.runtime.errors import CheckpointError, OptionError
from lqhq.runtime.manifest import SourceFile

__all__ = ["locate"]

EMA, PLAIN = "unet_ema", "unet"  # as diffusers' training code saves them
SCHEDULER_FILE = "scheduler_config.json"
NESTED = ("ema", "model")  # lucidrains' file: the averaged weights, and those of the last step


def locate(path: Path, config: Mapping[str, Any], settings: Settings) -> Located:
    """The network's folder or file, `config` with the scheduler's under `scheduler`, and which weights were taken.

    A folder with `unet_ema` and `unet` gives the averaged ones, or with `weights` "model" the others; of a file it is
    the entry of that name. `config` may be a scheduler's own file. Raises `CheckpointError`, or `OptionError` for
    weights that are not there.
    """
    given = {SCHEDULER: dict(config)} if str(config.get("_class_name", "")).endswith("Scheduler") else dict(config)
    chosen, notes = path, list[str]()
    if path.is_dir():
        chosen, notes = _network(path, settings.weights)
    file = next((one for one in _scheduler_files(path, chosen) if one.is_file()), None)
    sources: tuple[SourceFile, ...] = ()
    if file is not None:
        read = read_json_object(file)
        if given.get(SCHEDULER, read) != read:
            raise CheckpointError(
                f"--config: {SCHEDULER}",
                found=f"another configuration than {file}",
                expected="one",
                mend="Leave it out of --config.",
            )
        given[SCHEDULER] = read
        sources = (source_file(file),)
    return Located(
        path=chosen,
        config=given,
        sources=sources,
        notes=tuple(notes),
        nested_keys=NESTED,
        state_key=None if path.is_dir() else settings.weights,
    )


def _network(folder: Path, weights: str | None) -> tuple[Path, list[str]]:
    """The folder of the network, and what to say of the choice."""
    there = {kind: folder / name for kind, name in (("ema", EMA), ("model", PLAIN)) if (folder / name).is_dir()}
    if (folder / "config.json").exists() or not there:
        if weights is not None and folder.name != {"ema": EMA, "model": PLAIN}[weights]:
            raise _missing(folder, weights)
        return folder, []
    if weights is not None and weights not in there:
        raise _missing(folder, weights)
    kind = weights or next(iter(there))
    chosen = there[kind]
    if len(there) > 1:
        other = "model" if kind == "ema" else "ema"
        averaged = "the averaged weights (EMA)" if kind == "ema" else "the weights of the last step, not averaged"
        return chosen, [f"took {chosen.name}/, {averaged}; --weights {other} takes {there[other].name}/"]
    if kind == "ema":
        return chosen, [f"took {EMA}/, the averaged weights (EMA)"]
    pipeline = (folder / "model_index.json").is_file()
    of = "a pipeline, which holds averaged weights (EMA) where its training kept them" if pipeline else "this folder"
    return chosen, [f"took {PLAIN}/ of {of}; there is no {EMA}/"]


def _scheduler_files(given: Path, chosen: Path) -> tuple[Path, ...]:
    """Inside the folder that was given, or beside the network's."""
    if not given.is_dir():
        return ()
    roots = [given, chosen, *([given.parent] if given.name in (EMA, PLAIN) else [])]
    return tuple(place for root in roots for place in (root / SCHEDULER / SCHEDULER_FILE, root / SCHEDULER_FILE))


def _missing(folder: Path, weights: str) -> OptionError:
    return OptionError(
        "--weights",
        found=f"{weights!r}, but no {EMA if weights == 'ema' else PLAIN}/ in {folder}",
        expected="weights that are there",
        mend="Leave it out.",
    )
