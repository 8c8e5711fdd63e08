"""RAM's tagging head: one learnt question per tag, answered by cross-attention to the image's tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["HeadShape", "TaggingHead", "TokenSoftmax"]

HEADS = 4  # a constant of RAM, that no shape tells
EPSILON = 1e-12  # of the norms, as BERT has it


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadShape:
    """Number of tags, widths of questions, of the image's tokens and of the feed-forward part, and of layers."""

    tags: int
    width: int
    tokens: int
    hidden: int
    layers: int


class TokenSoftmax(nn.Module):
    """softmax along the last axis."""

    def forward(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1)


class CrossAttention(nn.Module):
    """Queries of `[N, K, width]`, keys and values of `[N, T, tokens]`; no mask."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.depth = shape.width // HEADS
        self.query = nn.Linear(shape.width, shape.width)
        self.key, self.value = (nn.Linear(shape.tokens, shape.width) for _ in range(2))
        self.softmax = TokenSoftmax()

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        q, k, v = self._split(self.query(x)), self._split(self.key(tokens)), self._split(self.value(tokens))
        weights = self.softmax((q * self.depth**-0.5) @ k.transpose(2, 3))
        return (weights @ v).transpose(1, 2).reshape(-1, x.shape[1], HEADS * self.depth)  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[1], HEADS, self.depth).transpose(1, 2)


class Residual(nn.Module):
    """Norm(dense(y) + x), the end of each half of a BERT layer."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(inner, width), nn.LayerNorm(width, eps=EPSILON)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(y) + x)  # type: ignore[no-any-return]


class Attended(nn.Module):
    """Cross-attention with its residual; the names in between are BERT's."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.add_module("self", CrossAttention(shape))
        self.output = Residual(shape.width, shape.width)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        return self.output(self.get_submodule("self")(x, tokens), x)  # type: ignore[no-any-return]


class Intermediate(nn.Module):
    """Linear and the exact GELU."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.width, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(self.dense(x))


class Layer(nn.Module):
    """A BERT layer without self-attention, normalised after each half."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.crossattention = Attended(shape)
        self.intermediate, self.output = Intermediate(shape), Residual(shape.hidden, shape.width)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        x = self.crossattention(x, tokens)
        return self.output(self.intermediate(x), x)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """The layers, under BERT's name."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, tokens)
        return x


class TaggingHead(nn.Module):
    """Tokens `[N, T, tokens]` to the answers `[N, K, width]`; `queries` `[K, width]` are the questions, ready made."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(shape.tags, shape.width))
        self.encoder = Encoder(shape)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.encoder(self.queries.expand(tokens.shape[0], -1, -1), tokens)  # type: ignore[no-any-return]
