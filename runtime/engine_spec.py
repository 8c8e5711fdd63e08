"""What an engine is built for: flavour, target GPUs, and the shapes that it takes. Values; nothing is built here."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

__all__ = ["TARGET", "EngineSpec", "Flavour", "Profile", "Range", "State"]

Flavour = Literal["tensorrt", "tensorrt-rtx"]
State = Literal["verified", "partly", "unverified"]  # what is known of the types inside an engine
TARGET = r"^sm[0-9]{2,3}$"
Target = Annotated[str, Meta(pattern=TARGET)]


class Range(NamedTuple):
    """The least and the largest length of an axis, and the one that the engine is tuned for."""

    least: int
    best: int
    most: int


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One optimisation profile: N, H and W of a graph's inputs; H and W are 1 where it takes no image."""

    batch: Range
    height: Range
    width: Range


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`targets` are compute capabilities such as sm89; empty for the GPU of the machine that builds."""

    flavour: Flavour
    targets: tuple[Target, ...] = ()
    profiles: Annotated[tuple[Profile, ...], Meta(min_length=1, max_length=16)]
