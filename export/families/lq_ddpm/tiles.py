"""Tile hints of this family's networks, and why."""

from __future__ import annotations

from lqhq.export.families.lq_ddpm.process import Loaded
from lqhq.export.family import Network
from lqhq.runtime.geometry import round_up

__all__ = ["network"]

# Pixels. Attention by chunks takes no memory of note, but its time grows with the square of a tile's pixels; 512 keeps
# borders few, and a quarter of it as overlap hides the zero padding of the convolutions.
PREFERRED, OVERLAP = 512, 128


def network(module: Loaded, *, multiple: int, deviations: tuple[str, ...], notes: list[str]) -> Network:
    """A `Network` of that `multiple`. The smallest side is two of them: GroupNorm needs more than one value."""
    preferred = round_up(PREFERRED, multiple)
    return Network(
        module=module.eval(),
        channels=3,
        multiple=multiple,
        smallest=2 * multiple,
        preferred=preferred,
        overlap=min(round_up(OVERLAP, multiple), preferred // 2 // multiple * multiple),
        deviations=deviations,
        notes=tuple(notes),
    )
