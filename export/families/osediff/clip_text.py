"""CLIP's text tower (Radford et al., arXiv 2103.00020), with the names of parameters that transformers gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.osediff.base_config import MOST, NEED_BASE, whole
from lqhq.export.foreign_text import printable
from lqhq.runtime.errors import CheckpointError

__all__ = ["ClipText", "TextShape", "clip_names", "text_shape"]

# What transformers takes where the keys are absent.
ABSENT = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 77}
PREFIX = "text_model."

MASKED = (
    -1e4
)  # added to a score that must not count: exp of it is 0 in float32, as of -inf, and half precision holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """Sizes of a text tower. `quick`: GELU as x * sigmoid(1.702 x), of OpenAI's models; else the exact one."""

    vocabulary: int
    length: int
    width: int
    hidden: int
    layers: int
    heads: int
    eps: float
    quick: bool


def text_shape(where: str, config: Mapping[str, Any]) -> TextShape:
    """From the config.json of a CLIPTextModel. Raises `CheckpointError` for what it cannot mean."""
    full = ABSENT | dict(config)
    kind, act, eps = full.get("model_type", "clip_text_model"), full["hidden_act"], full["layer_norm_eps"]
    for key, found, expected in (
        ("model_type", kind, ("clip_text_model",)),
        ("hidden_act", act, ("gelu", "quick_gelu")),
    ):
        if found not in expected:
            raise _fault(f"{where}: {key}", printable(repr(found), 60), " or ".join(expected))
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise _fault(f"{where}: layer_norm_eps", printable(repr(eps), 60), "a small number")
    width, heads = whole(where, full, "hidden_size"), whole(where, full, "num_attention_heads")
    if width % heads:
        raise _fault(f"{where}: num_attention_heads", str(heads), f"a divisor of hidden_size, {width}")
    return TextShape(
        vocabulary=whole(where, full, "vocab_size"),
        length=whole(where, full, "max_position_embeddings"),
        width=width,
        hidden=whole(where, full, "intermediate_size"),
        layers=whole(where, full, "num_hidden_layers", most=MOST),
        heads=heads,
        eps=eps,
        quick=act == "quick_gelu",
    )


def clip_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tower's own names: without the prefix, which transformers 5 leaves out, and the table of positions."""
    bare = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    bare.pop("embeddings.position_ids", None)  # 0, 1, 2, ...: stored by transformers before 4.31
    return bare


class Embeddings(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.position_embedding = nn.Embedding(shape.length, shape.width)

    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding.weight  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Each token to itself and to those before it; `x` `[N, T, C]`, `mask` `[T, T]` is added to the scores."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(shape.width, shape.width) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        return self.out_proj(found.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(shape.width, shape.hidden), nn.Linear(shape.hidden, shape.width)
        self.quick = shape.quick

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        h = h * torch.sigmoid(1.702 * h) if self.quick else functional.gelu(h)
        return self.fc2(h)  # type: ignore[no-any-return]


class Layer(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(shape), Mlp(shape)
        self.layer_norm1, self.layer_norm2 = (nn.LayerNorm(shape.width, eps=shape.eps) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask)
        return x


class ClipText(nn.Module):
    """`ids` int64 `[N, T]` to `[N, T, C]`: the last hidden state after the final norm; T is the shape's `length`.

    Padding is seen like any other token: the model was trained without a mask for it.
    """

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings, self.encoder = Embeddings(shape), Encoder(shape)
        self.final_layer_norm = nn.LayerNorm(shape.width, eps=shape.eps)

    def forward(self, ids: Tensor) -> Tensor:
        length = self.shape.length
        mask = torch.full((length, length), MASKED).triu(1)
        return self.final_layer_norm(self.encoder(self.embeddings(ids), mask))  # type: ignore[no-any-return]


def _fault(where: str, found: str, expected: str) -> CheckpointError:
    return CheckpointError(where, found=found, expected=expected, mend=NEED_BASE)
