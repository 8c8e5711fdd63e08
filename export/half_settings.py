"""How half-precision graphs are made and checked, and the file in which a plan of islands is kept."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lqhq.export.family import Recipe
from lqhq.export.half import check_islands
from lqhq.export.validate import Photo
from lqhq.runtime.errors import OptionError
from lqhq.runtime.manifest import Role
from lqhq.runtime.precision import Precision

__all__ = ["HalfSettings", "IslandPlan", "read_plan", "write_plan"]

MAX_BYTES = 4 << 20


class IslandPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which modules of each role stay in float32; "" is the whole of it. `psnr` (dB) is what the search reached."""

    format: Literal["lqhq-precision-plan"] = "lqhq-precision-plan"
    version: Literal[1] = 1
    precision: Literal["fp16", "bf16"]
    islands: Annotated[dict[Role, tuple[str, ...]], Meta(min_length=1)]
    psnr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfSettings:
    """`plans` take the place of the islands that the family declares; `photos` of the shipped ones.

    `least_psnr` is what a finished image must come to against float32, in dB; None for the precision's own bound.
    """

    plans: Mapping[Precision, IslandPlan] = field(default_factory=dict)
    photos: Mapping[str, Photo] | None = None
    least_psnr: float | None = None

    def check(self, recipe: Recipe) -> None:
        """Raise `OptionError` for photos and plans that do not fit the network, before minutes are spent on it."""
        for name, photo in (self.photos or {}).items():
            if (photo.mask is not None) != recipe.masked:
                raise OptionError(
                    f"--image {name}",
                    found="a mask" if photo.mask is not None else "no mask",
                    expected="a mask: this network fills holes"
                    if recipe.masked
                    else "none: this network takes no mask",
                    mend="Give a --mask for each --image." if recipe.masked else "Leave --mask out.",
                )
        roles = {graph.role for graph in recipe.graphs}
        for precision, plan in self.plans.items():
            if plan.islands.keys() != roles:
                raise OptionError(
                    "--precision-plan",
                    found=f"islands of {', '.join(sorted(plan.islands))} for {precision}",
                    expected=f"those of {', '.join(sorted(roles))}",
                    mend="Take the plan that `lqhq parity --bisect-precision` wrote for this very checkpoint.",
                )
            for graph in recipe.graphs:
                check_islands(graph, graph.half_form(), plan.islands[graph.role])


def read_plan(file: Path) -> IslandPlan:
    """A plan from a file. Raises `OptionError`."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise msgspec.ValidationError(f"more than {MAX_BYTES} bytes")
        return msgspec.json.decode(data, type=IslandPlan)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OptionError(
            f"--precision-plan {file}",
            found=str(getattr(error, "strerror", None) or error),
            expected="a plan that `lqhq parity --bisect-precision` wrote",
            mend="Write it again with that command.",
        ) from error


def write_plan(plan: IslandPlan, file: Path) -> None:
    """Write `plan` as JSON in one step. Raises `OptionError` where it cannot be written."""
    try:
        part = file.with_name(f".{secrets.token_hex(4)}.part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")
        try:
            part.replace(file)
        except OSError:
            part.unlink()
            raise
    except (OSError, ValueError) as error:  # ValueError: no name at all, such as "."
        raise OptionError(
            str(file),
            found=getattr(error, "strerror", None) or "no name for a file",
            expected="to write there",
            mend="Choose another place.",
        ) from error
