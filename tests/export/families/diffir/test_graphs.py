"""The three roles: sums that add up, the prior, the restoration; in PyTorch and as traced graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lqhq.export.families import diffir
from lqhq.export.families.diffir.graphs import Encode, Reduce, graphs
from lqhq.export.load import load_model
from lqhq.export.trace import trace
from lqhq.runtime.engines.onnx import OnnxSession

DATA = Path(__file__).parents[3] / "data"
VARIANTS = {
    "x4": {},
    "x1": {"scale": 1},
    "deblur": {"tail": False, "scale": 1, "residual": True, "norm_bias": True},
    "inpainting": {"channels": 4, "tail": False, "scale": 1, "norm_bias": True},
}


@pytest.fixture(params=VARIANTS)
def network(request, official):
    return official(**VARIANTS[request.param])[0]


def examples(graph, n=2, high=2, wide=3, seed=5):
    feed = graph.examples(np.random.default_rng(seed), n, high * graph.multiple, wide * graph.multiple)
    return {name: torch.from_numpy(array) for name, array in feed.items()}


@torch.no_grad()
def test_sums_over_counts_are_the_mean_of_cpen(network):
    reduce, encode, _ = graphs(network, 32)
    feed = examples(reduce)
    sums, count = reduce.module(feed["lq"], torch.ones_like(feed["mask"]))
    noise = torch.randn(2, 256, generator=torch.Generator().manual_seed(1))
    cond = encode.module(sums / count, noise)
    assert (cond - network.prior(network.condition(feed["lq"]), noise)).abs().max() < 1e-5
    assert count[0] == 64 * 96 / network.condition.fold**2


@torch.no_grad()
def test_the_sums_of_a_partition_add_up(network):
    """Also where the masks cut through the cells of the folded grid; masks that did not count would give it twice."""
    reduce = graphs(network, 32)[0]
    feed = examples(reduce)
    whole = reduce.module(feed["lq"], torch.ones_like(feed["mask"]))
    parts = [reduce.module(feed["lq"], mask) for mask in (feed["mask"], 1 - feed["mask"])]
    for total, *addends in zip(whole, *parts, strict=True):
        assert (sum(addends) - total).abs().max() < 1e-5 * total.abs().max()


@pytest.mark.slow
@torch.no_grad()
def test_large_tiles_lose_nothing(official):
    """512x512 cells in float32, against float64; a running sum would lose 1e-4."""
    network = official(encoder_blocks=0)[0]
    lq = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(2))
    sums, count = Reduce(network.condition)(lq, torch.ones(1, 1, 512, 512))
    exact = network.condition.trunk(lq).double().mean(dim=(2, 3))
    assert ((sums / count) - exact).abs().max() < 1e-6


def test_examples_are_what_the_roles_are_fed_with(network):
    reduce, encode, decode = graphs(network, 32)
    lq, mask = examples(reduce).values()
    assert lq.shape == (2, network.G.shape.channels, 64, 96)
    assert 0 <= lq.min() < lq.max() <= 1
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    if network.G.shape.channels == 4:
        assert 0.2 < lq[:, 3].mean() < 0.4
        assert not lq[:, :3][lq[:, 3:].expand(-1, 3, -1, -1) > 0].any()
    pooled, noise = examples(encode).values()
    assert pooled.shape == noise.shape == (2, 256)
    assert not torch.equal(pooled[0], pooled[1])
    assert examples(decode)["cond"].shape == (2, 256)


@torch.no_grad()
def test_the_deployed_network_is_the_plain_one(network):
    decode = graphs(network, 32)[2]
    feed = examples(decode)
    found, wanted = (module(feed["lq"], feed["cond"]) for module in (decode.module, decode.plain))
    scale = network.G.shape.scale
    assert found.shape == (2, 3, 64 * scale, 96 * scale)
    assert (found - wanted).abs().max() < 2e-5 * max(1.0, wanted.abs().max())
    assert decode.outputs["hq"].shape[2:] == ((f"{scale}H", f"{scale}W") if scale > 1 else ("H", "W"))


def test_nothing_trained_is_left_out(network):
    """Every parameter of the network is in one of the graphs; CPEN's trunk, and its head, in one only."""
    encode = {id(p) for p in Encode(network).parameters()}
    reduce = {id(p) for p in network.condition.E.parameters()}
    assert encode | reduce | {id(p) for p in network.G.parameters()} == {id(p) for p in network.parameters()}


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """`reduce` and `encode` of the deblurring goldens (they fold by 4), as files. Tracing takes seconds."""
    model = load_model(diffir.FAMILY, DATA / "diffir-deblur-tiny" / "net_g_latest.pth")
    files = {graph.role: tmp_path_factory.mktemp("roles") / f"{graph.role}.onnx" for graph in model.recipe.graphs[:2]}
    for graph in model.recipe.graphs[:2]:
        trace(graph, files[graph.role])
    return files


@pytest.mark.parametrize("case", "abcd")
def test_traced_graphs_give_the_golden_prior(traced, case):
    data = np.load(DATA / "diffir-deblur-tiny" / f"case-{case}.npz")
    lq = data["net_input"]
    with OnnxSession(traced["reduce"], threads=1) as reduce, OnnxSession(traced["encode"], threads=1) as encode:
        found = reduce.run({"lq": lq, "mask": np.ones_like(lq[:, :1])})
        pooled = found["sums"] / found["count"]
        cond = encode.run({"pooled": pooled, "noise": data["z_T"]})["cond"]
        assert np.abs(pooled - data["cpen_pooled"]).max() < 5e-6
        assert np.abs(cond - data["ipr"]).max() < 2e-5
        half = np.ones_like(lq[:, :1])
        half[..., : lq.shape[3] // 2] = 0  # the planted fault: half of the image does not count
        found = reduce.run({"lq": lq, "mask": half})
        assert np.abs(found["sums"] / found["count"] - data["cpen_pooled"]).max() > 1e-3
