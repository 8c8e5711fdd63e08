"""RAM (Recognize Anything, Zhang et al., arXiv 2306.03514), the part that tags an image, and its graph.

A Swin Transformer sees the image, a head asks it about every tag. The parts that write captions are not here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.osediff.ram_head import HeadShape, TaggingHead, TokenSoftmax
from lqhq.export.families.osediff.ram_swin import Swin, SwinShape, WindowSoftmax
from lqhq.export.family import RoleGraph
from lqhq.runtime import manifest as m

__all__ = ["Ram", "tag_graph"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, by channel
COARSE = 12  # side of the examples' grid of colours: noise of single pixels looks like nothing to a tagger


class MeanFirst(nn.Module):
    """Puts the mean of the tokens `[N, T, C]` before them."""

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)


class Ram(nn.Module):
    """The role `tag`: `image` `[N, 3, S, S]`, RGB in [0, 1], to `logits` `[N, K]`."""

    def __init__(self, swin: SwinShape, head: HeadShape) -> None:
        super().__init__()
        self.visual_encoder = Swin(swin)
        self.mean_first = MeanFirst()
        self.image_proj = nn.Linear(swin.channels, head.tokens)
        self.tagging_head = TaggingHead(head)
        self.fc = nn.Linear(head.width, 1)
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.visual_encoder((image - self.mean) / self.std)
        answers = self.tagging_head(self.image_proj(self.mean_first(tokens)))
        return self.fc(answers).squeeze(2)  # type: ignore[no-any-return]

    @property
    def side(self) -> int:
        """Of the image."""
        return self.visual_encoder.shape.side

    @property
    def tags(self) -> int:
        """How many there are."""
        return self.tagging_head.queries.shape[0]


def tag_graph(ram: Ram) -> RoleGraph:
    """The graph of a loaded RAM; norms and softmax stay in float32."""
    side = ram.side
    return RoleGraph(
        role="tag",
        module=ram,
        plain=ram,
        inputs={"image": m.Tensor(dtype="float32", shape=("N", 3, side, side), per="image")},
        outputs={"logits": m.Tensor(dtype="float32", shape=("N", ram.tags), per="image")},
        examples=_examples(side),
        islands=(nn.LayerNorm, WindowSoftmax, TokenSoftmax, MeanFirst),
    )


def _examples(side: int) -> Callable[[np.random.Generator, int, int, int], dict[str, NDArray[np.float32]]]:
    """Smooth fields of colour."""

    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> dict[str, NDArray[np.float32]]:
        coarse = torch.from_numpy(draw.uniform(0, 1, (n, 3, COARSE, COARSE)).astype(np.float32))
        return {"image": functional.interpolate(coarse, (side, side), mode="bilinear").numpy()}

    return examples
