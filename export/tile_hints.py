"""The tile hints of a bundle: a family's own, with the settings' overrides on top."""

from __future__ import annotations

from typing import Literal

from lqhq.export.settings import TileSettings
from lqhq.runtime.errors import OptionError
from lqhq.runtime.manifest import TileHints

__all__ = ["tile_hints"]


def tile_hints(
    own: TileSettings | None,
    *,
    multiple: int,
    smallest: int,
    preferred: int,
    overlap: int,
    reach: int | None,
    deviations: tuple[str, ...],
    blend: Literal["each", "final"] = "final",
) -> TileHints:
    """The hints for networks of this `multiple`, `own` settings before the rest. Raises `OptionError` for misfits."""
    own = own or TileSettings()
    overlap = overlap if own.overlap is None else own.overlap
    try:
        return TileHints(
            multiple=multiple,
            smallest=smallest,
            preferred=own.preferred or preferred,
            overlap=overlap,
            blend=own.blend or blend,
            trained=own.trained,
            reach=reach,
            deviations=deviations or _short_overlap(reach, overlap),
        )
    except ValueError as error:
        raise OptionError(
            "tiles",
            found=str(error),
            expected=f"sides of {multiple} pixels' multiples, overlap at most half of preferred",
            mend='Correct "tiles" in --config.',
        ) from error


def _short_overlap(reach: int | None, overlap: int) -> tuple[str, ...]:
    """What to say of an overlap whose quarter (the guard of `runtime/window.py`) is less than the reach."""
    if reach is None or overlap // 4 >= reach:
        return ()
    return (
        f"overlap: where tiles meet, a pixel may see only {overlap // 4} of the {reach} px around it that one call "
        "looks at; docs/guide/tiling.md says how to measure what this changes",
    )
