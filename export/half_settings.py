"""How half-precision graphs are made and checked, and the file in which a plan of islands is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

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

    def check(self, *, masked: bool) -> None:
        """Raise `OptionError` where photos lack the mask that the network takes, or have one that it does not."""
        for name, photo in (self.photos or {}).items():
            if (photo.mask is not None) != masked:
                raise OptionError(
                    f"--image {name}",
                    found="a mask" if photo.mask is not None else "no mask",
                    expected="a mask: this network fills holes" if masked else "none: this network takes no mask",
                    mend="Give a --mask for each --image." if masked else "Leave --mask out.",
                )


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
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")
        part.replace(file)
    except OSError as error:
        raise OptionError(
            str(file), found=error.strerror or str(error), expected="to write there", mend="Choose another place."
        ) from error
    finally:
        part.unlink(missing_ok=True)
