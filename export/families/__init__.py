"""The families that `lqhq export` knows."""

from __future__ import annotations

from lqhq.export.families import diffir, indi, lq_ddpm, osediff
from lqhq.export.family import Family

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (indi.FAMILY, diffir.FAMILY, osediff.FAMILY, lq_ddpm.FAMILY)
