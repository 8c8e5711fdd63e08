"""Models whose networks do not all fit into memory twice: what is made of them is held one at a time."""

from __future__ import annotations

import gc

from lqhq.export.family import Recipe
from lqhq.runtime import machine

__all__ = ["give_back", "is_heavy"]

HEAVY = 1 << 30  # bytes of weights; below it, opening sessions again and again would cost more than it saves


def is_heavy(recipe: Recipe) -> bool:
    """Whether the weights of all roles together take more than `HEAVY` bytes."""
    weights = {id(one): one for graph in recipe.graphs for one in graph.plain.parameters()}
    return sum(one.numel() * one.element_size() for one in weights.values()) > HEAVY


def give_back() -> None:
    """Give the memory of what is no longer used back to the system.

    The exporter's graphs refer to themselves in circles; after a large one it is more than a gigabyte.
    """
    gc.collect()
    machine.give_back()
