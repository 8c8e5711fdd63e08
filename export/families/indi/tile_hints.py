"""Tile hints of InDI's networks, and why."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from lqhq.export.family import Network
from lqhq.runtime.geometry import round_up

__all__ = ["ATTENTION", "NORM", "network"]

# Pixels of the prepared image. 512 keeps borders few; a quarter of it as overlap hides the zero padding of the
# convolutions, whose reach in a U-Net is a good part of a tile. Attention over fine levels needs smaller tiles:
# the side is halved until the scores of one tile fit a gibibyte.
PREFERRED, OVERLAP = 512, 128
SCORE_BYTES = 1 << 30
NORM = "GroupNorm: a tile is normalised by its own mean and variance, not by the image's"
ATTENTION = "attention: a pixel looks at its own tile only"
ALIGN_CORNERS = "align_corners upsampling: sampling points depend on the tile's size"


def score_bytes(heads: Mapping[int, int]) -> float:
    """Bytes per squared pixel that attention takes; `heads` by level, whose tokens are 4^level pixels each.

    Two float32 matrices of tokens x tokens per head are alive at a time: scores and their softmax.
    """
    return max((2 * 4 * count / 16**level for level, count in heads.items()), default=0.0)


def network(
    module: nn.Module,
    *,
    multiple: int,
    deviations: tuple[str, ...] = (),
    heads: Mapping[int, int] | None = None,
    notes: list[str] | None = None,
    overlap: int = OVERLAP,
    reach: int | None = None,
) -> Network:
    """A `Network` with hints for its `multiple` and its attention, `heads` by level.

    The smallest side is two multiples: with one, the deepest GroupNorm may see a single value per group.
    """
    per_pair = score_bytes(heads or {})
    side = PREFERRED
    while per_pair * side**4 > SCORE_BYTES and side > 4 * multiple:
        side //= 2
    preferred = round_up(max(side, 4 * multiple), multiple)
    return Network(
        module=module,
        channels=3,
        multiple=multiple,
        smallest=2 * multiple,
        preferred=preferred,
        overlap=min(round_up(min(overlap, preferred // 4), multiple), preferred // 2 // multiple * multiple),
        reach=reach,
        deviations=deviations,
        per_pair=per_pair,
        notes=tuple(notes or ()),
    )
