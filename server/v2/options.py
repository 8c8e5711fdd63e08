"""What a caller asks of one restoration, whichever protocol it came by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lqhq.runtime.manifest import Manifest

__all__ = ["FORMATS", "Delivery", "Format", "Options", "Urgency", "options_of"]

Format = Literal["tensor", "png", "jpeg", "webp", "tiff"]
FORMATS: tuple[Format, ...] = ("tensor", "png", "jpeg", "webp", "tiff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `Restorer.restore` takes under the same names, with its defaults; it checks what the bundle takes.

    Budget and scratch folder are the server's own. `tile` and `overlap` are pixels of the prepared image.
    """

    schedule: str | None = None
    seed: int = 0
    tile: int | str | None = None
    overlap: int | None = None
    blend: str | None = None
    prior: str | None = None
    color_fix: str | None = None
    rules: str | None = None
    prompt: str | None = None
    tagger: bool = False

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for `Restorer.restore`."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What the result is to be: `quality` is of JPEG and WebP; `bit_depth` is 8 or 16, None as the image that came."""

    format: Format
    quality: int = 95
    bit_depth: Literal[8, 16] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Urgency:
    """`priority` 1 is the most urgent, 0 the server's default; `timeout_s` is how long a request may wait."""

    priority: int = 0
    timeout_s: float | None = None


def options_of(manifest: Manifest) -> tuple[str, ...]:
    """The fields of `Options` that the bundle takes, sorted."""
    taken = {
        "blend": True,
        "color_fix": not manifest.masked,
        "overlap": True,
        "prior": "reduce" in manifest.graphs,
        "prompt": manifest.prompt is not None,
        "rules": manifest.original is not None,
        "schedule": bool(manifest.schedules),
        "seed": True,
        "tagger": manifest.tagger is not None,
        "tile": True,
    }
    return tuple(name for name in sorted(taken) if taken[name])
