"""Restores files one after the other: a bad one is noted and does not stop the rest, a finished one can be skipped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lqhq.runtime.autotile import default_budget
from lqhq.runtime.errors import CancelledError, LqhqError
from lqhq.runtime.file_plan import FilePair
from lqhq.runtime.geometry import Size
from lqhq.runtime.image_file import read_image
from lqhq.runtime.image_write import check_fits, write_image
from lqhq.runtime.mask_files import read_mask
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.whole_file import make_ready

__all__ = ["Outcome", "is_finished", "restore_files"]

Listener = Callable[[int, FilePair, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file. `status` is "done", "skipped" or "failed"; `error` says why it failed."""

    pair: FilePair
    status: str
    seconds: float = 0.0
    size: tuple[int, int] | None = None  # width and height of the result
    tiles: str | None = None
    error: str | None = None


def restore_files(
    restorer: Restorer,
    pairs: Sequence[FilePair],
    *,
    resume: bool = False,
    options: Mapping[str, Any] | None = None,
    masks: Mapping[Path, Path] | None = None,
    listen: Listener | None = None,
    note: Callable[[FilePair, str], None] | None = None,
) -> list[Outcome]:
    """Restore each pair; `options` go to `Restorer.restore`. Without a `memory` there, one budget is taken for all.

    `masks` are the files of masks by source, for bundles that fill holes.

    `listen(index, pair, done, total)` counts network calls; `note(pair, text)` gets the tile choice. With `resume`, a
    file whose result exists and is not older than its input and mask is skipped, whatever made it: results appear only
    when complete. `CancelledError`, an interrupt from the keyboard, and what `listen` or `note` raise end the run;
    every other expected error is kept for the end.
    """
    options = dict(options or {})
    if options.get("memory") is None:
        options["memory"] = default_budget()  # asked again for each file, it would shrink by what the run itself holds
    outcomes = []
    for index, pair in enumerate(pairs):
        mask = masks[pair.source] if masks else None
        if resume and is_finished(pair, mask):
            outcomes.append(Outcome(pair=pair, status="skipped"))
            continue
        try:
            outcomes.append(_restore_file(restorer, pair, mask, index, options, listen, note))
        except CancelledError:
            raise
        except LqhqError as error:
            outcomes.append(Outcome(pair=pair, status="failed", error=str(error)))
        except MemoryError:
            text = "memory ran out; give a smaller --tile or --memory"
            outcomes.append(Outcome(pair=pair, status="failed", error=text))
    return outcomes


def is_finished(pair: FilePair, mask: Path | None) -> bool:
    """Whether the result is there and not older than its input and mask."""
    try:
        read = [path.stat().st_mtime for path in (pair.source, mask) if path is not None]
        return pair.target.stat().st_mtime >= max(read)
    except OSError:
        return False


def _restore_file(
    restorer: Restorer,
    pair: FilePair,
    mask: Path | None,
    index: int,
    options: dict[str, Any],
    listen: Listener | None,
    note: Callable[[FilePair, str], None] | None,
) -> Outcome:
    start = time.monotonic()
    opened = read_image(pair.source)
    check_fits(pair.target, opened, scale=restorer.bundle.manifest.scale)  # before the work, not after it
    if mask is not None:
        options = {**options, "mask": read_mask(mask, Size(*opened.pixels.shape[:2]))}
    planning = ("schedule", "tile", "overlap", "blend", "memory", "prior", "rules")
    choice = restorer.plan(opened.pixels, **{name: options[name] for name in planning if name in options})
    make_ready(pair.target)
    if note is not None:
        note(pair, choice.describe())

    def progress(done: int, total: int) -> None:
        if listen is not None:
            listen(index, pair, done, total)

    result = restorer.restore(opened.pixels, progress=progress, **options)
    write_image(pair.target, replace(opened, pixels=result))
    height, width = result.shape[:2]
    seconds = time.monotonic() - start
    return Outcome(pair=pair, status="done", seconds=seconds, size=(width, height), tiles=choice.describe())
