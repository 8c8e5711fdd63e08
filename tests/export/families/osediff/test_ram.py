"""RAM as a graph: one logit per tag for any number of images, the same in ONNX, and halved around its islands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lqhq.export.families.osediff.ram import Ram, tag_graph
from lqhq.export.families.osediff.ram_head import HeadShape
from lqhq.export.families.osediff.ram_swin import SwinShape
from lqhq.export.half import HalfModule, at_precision
from lqhq.export.reference import reference_outputs
from lqhq.export.trace import trace
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.precision import Precision

SWIN = SwinShape(width=12, depths=(2, 1), heads=(1, 2), window=3, patch=4, hidden=48)
HEAD = HeadShape(tags=9, width=16, tokens=8, hidden=32, layers=1)


@pytest.fixture(scope="module")
def ram() -> Ram:
    torch.manual_seed(3)
    network = Ram(SWIN, HEAD).eval()
    for name, parameter in network.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in name.lower() and name.endswith("weight")), std=0.3)
    for name, buffer in network.named_buffers():
        if name.endswith("softmax.bias"):
            nn.init.normal_(buffer)
    return network.requires_grad_(False)


def test_says_what_it_takes_and_gives(ram: Ram) -> None:
    graph = tag_graph(ram)
    assert graph.inputs["image"].shape == ("N", 3, 24, 24)
    assert graph.outputs["logits"].shape == ("N", 9)
    assert not graph.takes_image  # its side is fixed: nothing to tile


def test_normalises_and_puts_the_mean_first(ram: Ram) -> None:
    """With parts taken singly; a logit moves if the mean stands last or the image is normalised otherwise."""
    image = torch.from_numpy(tag_graph(ram).examples(np.random.default_rng(1), 1, 0, 0)["image"])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = ((image.permute(0, 2, 3, 1) - mean) / std).permute(0, 3, 1, 2)
    tokens = ram.visual_encoder(normal)
    tokens = torch.cat([tokens.sum(1, keepdim=True) / tokens.shape[1], tokens], 1)
    answers = ram.tagging_head(ram.image_proj(tokens))
    wanted = (answers @ ram.fc.weight[0]) + ram.fc.bias
    torch.testing.assert_close(ram(image), wanted, atol=1e-5, rtol=1e-5)
    without = (ram.tagging_head(ram.image_proj(tokens[:, 1:])) @ ram.fc.weight[0]) + ram.fc.bias
    assert (ram(image) - without).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_traces_for_any_number_of_images(ram: Ram, tmp_path: Path, precision: Precision) -> None:
    """`trace` compares with the network at other numbers than the traced one."""
    graph = at_precision(tag_graph(ram), precision)
    assert trace(graph, tmp_path / "tag.onnx", precision=precision).external == ()
    if precision == "fp16":
        return
    feed = graph.examples(np.random.default_rng(2), 5, 0, 0)
    with OnnxSession(tmp_path / "tag.onnx", threads=1) as session:
        found = session.run(feed)["logits"]
        swapped = session.run({"image": feed["image"][:, ::-1]})["logits"]
    wanted = reference_outputs(graph, feed)["logits"]
    assert found.shape == (5, 9)
    assert np.abs(found - wanted).max() < 1e-4
    assert np.abs(swapped - wanted).max() > 1e-3  # channels in the wrong order would show


def test_norms_and_softmax_stay_in_float32(ram: Ram) -> None:
    half = at_precision(tag_graph(ram), "fp16").module
    assert isinstance(half, HalfModule)
    inside = {name for island in half.islands for name in [island.rsplit(".", 1)[-1]]}
    assert inside == {"norm", "norm1", "norm2", "softmax", "mean_first", "LayerNorm"}
    kinds = {parameter.dtype for name, parameter in half.named_parameters() if "norm" not in name.lower()}
    assert kinds == {torch.float16}


def test_half_stays_near(ram: Ram) -> None:
    graph = tag_graph(ram)
    half = at_precision(graph, "fp16").module
    image = torch.from_numpy(graph.examples(np.random.default_rng(4), 2, 0, 0)["image"])
    with torch.no_grad():
        found, wanted = half(image), ram(image)
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).abs().max() < 0.1
