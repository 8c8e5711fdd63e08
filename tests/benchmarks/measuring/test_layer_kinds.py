"""Every node is counted once, under the right kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from measuring.layer_kinds import KINDS, kind_of, layer_kinds
from onnx import TensorProto, helper, numpy_helper


@pytest.mark.parametrize(
    ("operator", "weight", "kind"),
    [
        ("Conv", (8, 4, 1, 1), "convolution 1x1"),
        ("Conv", (8, 1, 3, 3), "convolution, depth-wise"),
        ("Conv", (8, 4, 3, 3), "convolution, others"),
        ("FusedMatMul", (4, 4), "matrix product"),
        ("ReorderInput", (), "change of layout"),
        ("Unheard", (), "others"),
    ],
)
def test_kinds(operator: str, weight: tuple[int, ...], kind: str) -> None:
    assert kind_of(operator, [(1, 4, 8, 8), weight]) == kind


def test_no_operator_is_of_two_kinds() -> None:
    operators = [operator for kind in KINDS.values() for operator in kind]
    assert len(operators) == len(set(operators))


def test_a_run_is_counted_once(tmp_path: Path) -> None:
    """And nothing else: a kind that took in too much would swallow one of the two."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Gelu", ["y"], ["z"])]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 64]) for name in "xz"]
    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], [weight])
    file = tmp_path / "g.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), file)
    kinds = layer_kinds(file, {"x": np.ones((64, 64), np.float32)}, 1, tmp_path)
    assert kinds.keys() == {"matrix product", "GELU"}
    assert all(seconds < 1 for seconds in kinds.values())
