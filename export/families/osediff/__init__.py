"""OSEDiff (Wu et al., arXiv 2406.08177): one step of SD 2.1 restores a photo, told what is in it."""

from __future__ import annotations

from lqhq.export.families.osediff.recipe import joined, recipe
from lqhq.export.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    name="osediff",
    about="OSEDiff: real-world super-resolution by one step of SD 2.1, with a prompt or tags",
    formats=(),
    recipe=recipe,
    joined=joined,
)
