"""Group norms written out: the same values, nearer to float64 where a group is large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lqhq.export.group_norm import write_out_group_norms
from lqhq.runtime.engines.onnx import OnnxSession

LARGE = (1, 4, 512, 1024)


def graph_of(norm: nn.GroupNorm, file: Path, *, rank: int = 4, written_out: bool = True) -> Path:
    """The norm alone, for values `[N, C, ...]` of `rank` axes, all free but C."""
    shape = ["N", norm.num_channels, *(f"side{axis}" for axis in range(rank - 2))]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y"))
    node = helper.make_node(
        "GroupNormalization", ["x", "weight", "bias"], ["y"], epsilon=norm.eps, num_groups=norm.num_groups
    )
    weights = [numpy_helper.from_array(tensor.float().numpy(), name) for name, tensor in norm.state_dict().items()]
    graph = helper.make_graph([node], "norm", [x], [y], weights)
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    if written_out:
        write_out_group_norms(model)
    ir.save(model, file)
    onnx.checker.check_model(str(file), full_check=True)
    return file


def norm_of(groups: int, channels: int, eps: float = 1e-6) -> nn.GroupNorm:
    torch.manual_seed(channels)
    norm = nn.GroupNorm(groups, channels, eps=eps)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.eval()


def run(file: Path, x: np.ndarray) -> np.ndarray:
    with OnnxSession(file, threads=1) as session:
        (y,) = session.run({"x": x}).values()
    return y


@pytest.mark.parametrize(
    ("groups", "channels", "sides"),
    [(1, 3, (5, 7)), (3, 3, (4, 9)), (2, 6, (11,)), (4, 8, (1, 1)), (2, 4, (13, 1)), (2, 4, (3, 4, 5))],
)
@pytest.mark.parametrize("n", [1, 3])
def test_values_are_pytorchs(groups, channels, sides, n, tmp_path):
    norm = norm_of(groups, channels, eps=0.01)
    x = np.random.default_rng(1).normal(2, 3, (n, channels, *sides)).astype(np.float32)
    with torch.no_grad():
        wanted = norm.double()(torch.from_numpy(x).double()).numpy()
    file = graph_of(norm.float(), tmp_path / "norm.onnx", rank=2 + len(sides))
    assert np.abs(run(file, x) - wanted).max() < 5e-6


def test_no_group_norm_is_left_and_names_stay(tmp_path):
    model = onnx.load(graph_of(norm_of(2, 4), tmp_path / "norm.onnx"))
    assert "GroupNormalization" not in {node.op_type for node in model.graph.node}
    assert {tensor.name for tensor in model.graph.initializer} >= {"weight", "bias"}


def test_a_large_group_is_far_nearer_to_float64_than_the_operator(tmp_path):
    norm = norm_of(2, 4)
    x = np.random.default_rng(2).normal(3, 1, LARGE).astype(np.float32)
    with torch.no_grad():
        wanted = norm.double()(torch.from_numpy(x).double()).numpy()
    norm.float()
    ours = np.abs(run(graph_of(norm, tmp_path / "ours.onnx"), x) - wanted).max()
    theirs = np.abs(run(graph_of(norm, tmp_path / "theirs.onnx", written_out=False), x) - wanted).max()
    assert ours < 3e-6
    assert ours < theirs / 5
