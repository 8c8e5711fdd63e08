"""Attention by chunks: the same as at once, in PyTorch and as a graph, at any size and however many chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lqhq.export import chunked_attention
from lqhq.export.chunked_attention import attend, attended
from lqhq.export.family import RoleGraph
from lqhq.export.half import at_precision
from lqhq.export.trace import trace
from lqhq.runtime import manifest as m
from lqhq.runtime.engines.onnx import OnnxSession

HEADS, WIDTH = 4, 8


class Attends(nn.Module):
    """Attention over all pixels of `state`, `t` added."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.qkv = nn.Conv2d(3, 3 * HEADS * WIDTH, 1)
        self.out = nn.Conv2d(HEADS * WIDTH, 3, 1)

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        parts = self.qkv(state).flatten(2).unflatten(1, (3, HEADS, WIDTH)).transpose(-1, -2)
        mixed = attend(*parts.unbind(1)).transpose(-1, -2).flatten(1, 2)
        return self.out(mixed.unflatten(2, state.shape[2:])) + t[:, None, None, None]


def graph() -> RoleGraph:
    module = Attends().eval().requires_grad_(False)
    image = m.Tensor(dtype="float32", shape=("N", 3, "H", "W"))
    return RoleGraph(
        role="denoise",
        module=module,
        plain=module,
        inputs={"state": image, "t": m.Tensor(dtype="float32", shape=("N",), per="sample")},
        outputs={"pred": image},
        examples=lambda draw, n, high, wide: {
            "state": draw.standard_normal((n, 3, high, wide)).astype(np.float32),
            "t": draw.random(n).astype(np.float32),
        },
        smallest=2,
    )


def at_once(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)


@pytest.mark.parametrize("most", [1, 37, 500, 1 << 24])
def test_chunks_in_pytorch(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(chunked_attention, "MOST_SCORES", most)
    torch.manual_seed(1)
    q, k, v = torch.randn(2, 3, 7, WIDTH), torch.randn(2, 3, 11, WIDTH), torch.randn(2, 3, 11, WIDTH)
    assert (attended(q, k, v) - at_once(q, k, v)).abs().max() < 2e-6


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph of at most 1000 scores at a time: from 8 pixels on there are several chunks."""
    file = tmp_path_factory.mktemp("graphs") / "denoise.fp32.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked_attention, "MOST_SCORES", 1000)
        trace(graph(), file)
    return file


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (2, 5, 7), (3, 8, 8), (1, 13, 11)])
def test_the_graph_at_any_size(traced: Path, shape: tuple[int, int, int]) -> None:
    one = graph()
    feed = one.examples(np.random.default_rng(3), *shape)
    with OnnxSession(traced, threads=1) as session:
        found = session.run(feed)["pred"]
    wanted = one.plain(*(torch.from_numpy(feed[name]) for name in one.inputs)).numpy()
    assert np.abs(found - wanted).max() < 5e-6


def test_half_precision_keeps_its_softmax_in_float32(tmp_path: Path) -> None:
    plan = trace(at_precision(graph(), "fp16"), tmp_path / "half.onnx", precision="fp16").plan
    assert plan.layers["matmul"] == {"float16": 2}
    assert (tmp_path / "half.onnx").read_bytes().count(b"Softmax") >= 1


def test_another_softmax_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: each chunk's softmax over its queries in place of the keys."""
    torch.manual_seed(1)
    q = torch.randn(1, 2, 9, WIDTH)
    wrong = (q @ q.transpose(-1, -2)).softmax(-2) @ q
    assert (wrong - attended(q, q, q)).abs().max() > 1e-2
