"""LQ-DDPM (Yang et al., arXiv 2303.06994): a DDPM of low-quality images, run from part of the way."""

from __future__ import annotations

from lqhq.export.families.lq_ddpm.load_diffusers import DIFFUSERS
from lqhq.export.families.lq_ddpm.load_guided import GUIDED
from lqhq.export.families.lq_ddpm.load_lucidrains import LUCIDRAINS
from lqhq.export.families.lq_ddpm.locate import locate
from lqhq.export.families.lq_ddpm.recipe import recipe
from lqhq.export.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    name="lq-ddpm",
    about="LQ-DDPM: realistic low-quality partners of good images",
    formats=(DIFFUSERS, GUIDED, LUCIDRAINS),
    recipe=recipe,
    locate=locate,
)
