"""DiffIR, stage 2 (Xia et al., arXiv 2303.09472): a small diffusion makes a prior, a transformer restores with it."""

from __future__ import annotations

from lqhq.export.families.diffir.load_official import NESTED_KEYS
from lqhq.export.families.diffir.recipe import OFFICIAL, recipe
from lqhq.export.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    name="diffir",
    about="DiffIR: super-resolution, deblurring, inpainting with a diffused prior",
    formats=(OFFICIAL,),
    recipe=recipe,
    nested_keys=NESTED_KEYS,
    config_json=False,
)
