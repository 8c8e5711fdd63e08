"""What a worker is told to open, and what it says of it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.precision import Precision

__all__ = ["MOST_LINES", "MOST_WIDTH", "Checked", "Opened", "Opening"]

MOST_LINES, MOST_WIDTH = 120, 200  # of a report: a packet holds it, see `packets`


class Opening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle, and how its sessions are opened: see `Restorer.open`.

    `sha256` is that of its manifest.json, in hexadecimal: a worker opens the bundle that was meant or none, since
    another may have come into its place before a worker that died is replaced. `device` is put in by whoever has the
    worker. `check` replays the bundle's goldens first, which must pass.
    """

    path: str
    sha256: str
    engine: str = "onnx"
    precision: str = "fp32"
    device: str = ""
    threads: int | None = None
    cache: str | None = None
    profiles: tuple[Profile, ...] = ()
    check: bool = True


class Checked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What replaying the goldens gave. `lines` are the report, cut where it is long."""

    cases: int
    passed: bool
    seconds: float
    lines: Annotated[tuple[str, ...], Meta(max_length=MOST_LINES)]


class Opened(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sessions are open. `seconds` were needed for all, the check included; `checked` is None without one."""

    shapes: EngineShapes
    engine_version: str
    precision: Precision
    device: str
    seconds: float
    checked: Checked | None
