"""The numbers that a degradation's fields may hold: bounds, the checks between them, and two kinds of draws."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lqhq.runtime.degrade.draws import Draws
from lqhq.runtime.manifest_types import Strict

__all__ = [
    "Factors",
    "Modes",
    "Poisson",
    "Probability",
    "Qualities",
    "Sigmas",
    "Sizes",
    "Unit",
    "check_odd",
    "check_order",
    "check_sum",
    "draw_mode",
    "draw_size",
]

Probability = Annotated[float, Meta(ge=0, le=1)]
_Sigma = Annotated[float, Meta(ge=0, le=64)]
_Factor = Annotated[float, Meta(ge=1 / 32, le=4)]  # 4 in each direction is 16 times the memory
_Scale = Annotated[float, Meta(ge=0, le=16)]
_Size = Annotated[int, Meta(ge=1, le=63)]  # a filter's time grows with its square
_Quality = Annotated[int, Meta(ge=1, le=100)]
Sigmas = tuple[_Sigma, _Sigma]
Factors = tuple[_Factor, _Factor]
Poisson = tuple[_Scale, _Scale]
Sizes = tuple[_Size, _Size]
Qualities = tuple[_Quality, _Quality]
Unit = tuple[Probability, Probability]


class Modes(Strict, frozen=True, kw_only=True):
    """How often each way of resizing is taken; `resizing.py` says what they are. They sum to one."""

    area: Probability = 1 / 3
    bilinear: Probability = 1 / 3
    bicubic: Probability = 1 / 3

    def __post_init__(self) -> None:
        check_sum(self)


def check_order(owner: msgspec.Struct, *fields: str) -> None:
    """Raise `ValueError` where a field is a range that ends before it begins."""
    for field in fields:
        low, high = getattr(owner, field)
        if low > high:
            raise ValueError(f"`{field}` runs from {low} to {high}: the lower end comes first")


def check_odd(owner: msgspec.Struct, field: str) -> None:
    """Raise `ValueError` unless the field is a range of odd sizes: only those have a middle."""
    check_order(owner, field)
    if any(size % 2 == 0 for size in getattr(owner, field)):
        raise ValueError(f"`{field}` is {getattr(owner, field)}: a filter's size is odd")


def check_sum(owner: msgspec.Struct, *fields: str) -> None:
    """Raise `ValueError` unless the fields, or all where none is named, sum to one."""
    names = fields or owner.__struct_fields__
    total = math.fsum(getattr(owner, name) for name in names)
    if abs(total - 1) > 1e-6:
        raise ValueError(f"{', '.join(names)} sum to {total:.9g}: probabilities of one choice sum to 1")


def draw_mode(modes: Modes, draws: Draws) -> Literal["area", "bilinear", "bicubic"]:
    """One of the ways of resizing, as often as `modes` says."""
    mode: Literal["area", "bilinear", "bicubic"] = msgspec.convert(
        draws.pick(msgspec.structs.asdict(modes)), Literal["area", "bilinear", "bicubic"]
    )
    return mode


def draw_size(sizes: Sizes, draws: Draws) -> int:
    """One of the odd sizes from the first to the second, both included, all equally likely."""
    return sizes[0] + 2 * draws.whole(0, (sizes[1] - sizes[0]) // 2)
