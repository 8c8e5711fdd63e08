"""The tagging head against BERT's layer as the paper says it, one question and one head at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from lqhq.export.families.osediff.ram_head import HEADS, HeadShape, TaggingHead

Array = NDArray[np.float64]
SHAPE = HeadShape(tags=5, width=16, tokens=6, hidden=24, layers=2)


def seeded(seed: int) -> tuple[TaggingHead, dict[str, Array]]:
    torch.manual_seed(seed)
    head = TaggingHead(SHAPE).double().eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5)
    return head, {name: tensor.numpy() for name, tensor in head.state_dict().items()}


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    scaled = (x - x.mean()) / math.sqrt(x.var() + 1e-12)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def answer(x: Array, tokens: Array, weights: dict[str, Array], fault: str = "") -> Array:
    """`x` `[width]`, one question; `tokens` `[T, tokens]`."""
    depth = SHAPE.width // HEADS
    for layer in range(SHAPE.layers):
        name = f"encoder.layer.{layer}"
        q = linear(x, weights, f"{name}.crossattention.self.query")
        keys, values = (
            np.array([linear(token, weights, f"{name}.crossattention.self.{part}") for token in tokens])
            for part in ("key", "value")
        )
        context = np.zeros(SHAPE.width)
        for head in range(HEADS):
            at = slice(head * depth, (head + 1) * depth)
            scores = keys[:, at] @ q[at] / math.sqrt(SHAPE.width if fault == "scale" else depth)
            share = np.exp(scores - scores.max())
            context[at] = share / share.sum() @ values[:, at]
        mixed = linear(context, weights, f"{name}.crossattention.output.dense")
        x = norm(mixed + (0 if fault == "residual" else x), weights, f"{name}.crossattention.output.LayerNorm")
        inner = linear(x, weights, f"{name}.intermediate.dense")
        inner = inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))) / 2
        x = norm(linear(inner, weights, f"{name}.output.dense") + x, weights, f"{name}.output.LayerNorm")
    return x


def difference(fault: str) -> float:
    head, weights = seeded(11)
    tokens = torch.randn(2, 7, SHAPE.tokens, dtype=torch.float64)
    with torch.no_grad():
        found = head(tokens).numpy()
    assert found.shape == (2, SHAPE.tags, SHAPE.width)
    wanted = [[answer(x, one, weights, fault) for x in weights["queries"]] for one in tokens.numpy()]
    return float(np.abs(found - np.array(wanted)).max())


def test_equals_the_plain_computation() -> None:
    assert difference("") < 1e-10


@pytest.mark.parametrize("fault", ["scale", "residual"])
def test_a_fault_would_show(fault: str) -> None:
    assert difference(fault) > 1e-3


def test_names_are_berts() -> None:
    names = set(TaggingHead(SHAPE).state_dict())
    assert "encoder.layer.1.crossattention.self.query.weight" in names
    assert "encoder.layer.0.crossattention.output.LayerNorm.bias" in names
    assert len(names) == 1 + SHAPE.layers * 16
