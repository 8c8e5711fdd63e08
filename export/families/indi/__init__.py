"""InDI (Delbracio, Milanfar, arXiv 2303.11435): the network predicts the clean image from a mixture."""

from __future__ import annotations

from lqhq.export.families.indi.load_diffusers import DIFFUSERS
from lqhq.export.families.indi.load_guided import GUIDED
from lqhq.export.families.indi.load_indiunet import INDIUNET
from lqhq.export.families.indi.load_lqhq import LQHQ
from lqhq.export.families.indi.load_sr3 import SR3
from lqhq.export.families.indi.recipe import recipe
from lqhq.export.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    name="indi",
    about="InDI: inversion by direct iteration",
    formats=(DIFFUSERS, GUIDED, SR3, INDIUNET, LQHQ),
    recipe=recipe,
)
