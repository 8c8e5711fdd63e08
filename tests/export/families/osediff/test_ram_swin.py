"""Swin against a plain re-computation, window by window and pair by pair, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from lqhq.export.families.osediff.ram_swin import Swin, SwinShape, pair_biases

Array = NDArray[np.float64]

# Window 3: sides of 48; an even window, and stages of one head and of several.
SHAPES = (
    SwinShape(width=12, depths=(2, 1, 3), heads=(1, 2, 4), window=3, patch=4, hidden=20),
    SwinShape(width=8, depths=(1, 2), heads=(2, 4), window=4, patch=2, hidden=16),
)


def seeded(shape: SwinShape, seed: int) -> tuple[Swin, dict[str, Array]]:
    """A network in float64, and its weights under the checkpoint's names, tables and all."""
    torch.manual_seed(seed)
    swin, weights = Swin(shape).double().eval(), {}
    for name, parameter in swin.named_parameters():
        nn.init.normal_(parameter, std=0.3)
        weights[name] = parameter.detach().numpy()
    for name, module in swin.named_modules():
        if name.endswith(".softmax"):
            table = torch.randn((2 * shape.window - 1) ** 2, module.bias.shape[0], dtype=torch.float64)
            module.bias.copy_(pair_biases(table))
            weights[name.removesuffix("softmax") + "relative_position_bias_table"] = table.numpy()
    return swin, weights


def norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", np.zeros(()))


def gelu(x: Array) -> Array:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def attention(x: Array, weights: dict[str, Array], name: str, heads: int, window: int, shift: int, fault: str) -> Array:
    """Every pixel with those of its shifted window that are truly within a window's reach of it."""
    grid, width = x.shape[0], x.shape[2]
    depth = width // heads
    table, out = weights[f"{name}.relative_position_bias_table"], np.zeros_like(x)
    parts = linear(x, weights, f"{name}.qkv").reshape(grid, grid, 3, heads, depth)
    for top in range(0, grid, window):
        for left in range(0, grid, window):
            inside = [
                ((top + dy + shift) % grid, (left + dx + shift) % grid) for dy in range(window) for dx in range(window)
            ]
            for y, x_ in inside:
                near = [(v, u) for v, u in inside if fault == "wrapped" or max(abs(y - v), abs(x_ - u)) < window]
                for head in range(heads):
                    q = parts[y, x_, 0, head] / math.sqrt(depth)
                    scores = []
                    for v, u in near:
                        dy, dx = (v - y, u - x_) if fault == "mirrored bias" else (y - v, x_ - u)
                        index = (dy + window - 1) * (2 * window - 1) + dx + window - 1
                        scores.append(q @ parts[v, u, 1, head] + (table[index, head] if 0 <= index < len(table) else 0))
                    share = np.exp(np.array(scores) - max(scores))
                    mixed = sum(s * parts[v, u, 2, head] for s, (v, u) in zip(share / share.sum(), near, strict=True))
                    out[y, x_, head * depth : (head + 1) * depth] = mixed
    return linear(out, weights, f"{name}.proj")


def recomputed(image: Array, weights: dict[str, Array], shape: SwinShape, fault: str = "") -> Array:
    """`[3, S, S]` to `[T, C]`."""
    grid, patch = shape.grid(0), shape.patch
    kernel = weights["patch_embed.proj.weight"]
    cells = image.reshape(3, grid, patch, grid, patch)
    x = np.einsum("cyaxb,dcab->yxd", cells, kernel) + weights["patch_embed.proj.bias"]
    x = norm(x, weights, "patch_embed.norm")
    for stage, depth in enumerate(shape.depths):
        for index in range(depth):
            name = f"layers.{stage}.blocks.{index}"
            shift = shape.window // 2 if index % 2 and x.shape[0] > shape.window else 0
            inner = norm(x, weights, f"{name}.norm1")
            x = x + attention(inner, weights, f"{name}.attn", shape.heads[stage], shape.window, shift, fault)
            inner = norm(x, weights, f"{name}.norm2")
            x = x + linear(gelu(linear(inner, weights, f"{name}.mlp.fc1")), weights, f"{name}.mlp.fc2")
        if stage + 1 < len(shape.depths):
            corners = [x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]]
            if fault == "corners by rows":
                corners[1], corners[2] = corners[2], corners[1]
            name = f"layers.{stage}.downsample"
            x = linear(norm(np.concatenate(corners, 2), weights, f"{name}.norm"), weights, f"{name}.reduction")
    return norm(x.reshape(-1, shape.channels), weights, "norm")


def difference(shape: SwinShape, fault: str) -> float:
    swin, weights = seeded(shape, 7)
    image = torch.randn(2, 3, shape.side, shape.side, dtype=torch.float64)
    with torch.no_grad():
        found = swin(image).numpy()
    assert found.shape == (2, shape.tokens, shape.channels)
    return float(np.abs(found[1] - recomputed(image[1].numpy(), weights, shape, fault)).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_plain_computation(shape: SwinShape) -> None:
    assert difference(shape, "") < 1e-10


@pytest.mark.parametrize("fault", ["wrapped", "mirrored bias", "corners by rows"])
def test_a_fault_would_show(fault: str) -> None:
    assert difference(SHAPES[0], fault) > 1e-3


def test_sides() -> None:
    large = SwinShape(width=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12, patch=4, hidden=768)
    assert (large.side, large.tokens, large.channels) == (384, 144, 1536)
    assert [large.grid(stage) for stage in range(4)] == [96, 48, 24, 12]
