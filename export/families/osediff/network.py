"""OSEDiff: the base model with what was trained merged in, as one value, and its sources."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from lqhq.export.families.osediff.adapter import load_adapter
from lqhq.export.families.osediff.base_folder import Base, load_base
from lqhq.export.families.osediff.clip_text import ClipText
from lqhq.export.families.osediff.merge import merge
from lqhq.export.families.osediff.one_step import StepConstants
from lqhq.runtime.manifest import SourceFile

__all__ = ["OseDiff", "load_osediff"]


class OseDiff(nn.Module):
    """The merged networks, float32 and in eval mode. `unet` and `vae` are diffusers' classes.

    `state` is a posterior's value times `scaling`; one of its pixels is `factor` image pixels wide. `sources` are the
    files that all this was read from, `tokenizer` the folder of the tokenizer's.
    """

    def __init__(self, base: Base, adapter: SourceFile, ranks: tuple[int, int]) -> None:
        super().__init__()
        self.unet, self.vae, self.text = base.unet, base.vae, base.text
        self.constants, self.scaling = base.constants, base.scaling
        self.channels, self.factor = base.channels, base.factor
        self.tokenizer, self.sources = base.tokenizer, (adapter, *base.sources)
        self.notes = (f"merged pairs of rank {ranks[0]} into the UNet, {ranks[1]} into the VAE", *base.notes)

    unet: nn.Module
    vae: nn.Module
    text: ClipText
    constants: StepConstants

    @property
    def width(self) -> int:
        """Of a prompt's embedding."""
        return self.text.shape.width

    @property
    def heads(self) -> int:
        """Of the UNet's first self-attention, whose scores take the most memory."""
        return next(int(one.heads) for name, one in self.unet.named_modules() if name.endswith("attn1"))

    @torch.no_grad()
    def embed(self, ids: Tensor) -> Tensor:
        """`cond` `[N, T, D]` of token ids, int64 `[N, T]`."""
        return cast(Tensor, self.text(ids))


def load_osediff(adapter: Path, base: Path) -> OseDiff:
    """`adapter`: osediff.pkl or osediff_face.pkl; `base`: the diffusers folder. Raises `CheckpointError`."""
    trained = load_adapter(adapter)  # first: it is small, and a mistake shows at once
    model = load_base(base)
    merge(trained, model.unet, model.vae)
    return OseDiff(model, trained.source, (trained.rank_unet, trained.rank_vae)).eval()
