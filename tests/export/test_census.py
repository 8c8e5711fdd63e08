"""The count of a graph's types, against counts by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from lqhq.export.census import census
from lqhq.runtime.errors import EngineError

HALF, SINGLE, BRAIN = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.BFLOAT16


def model(nodes: Sequence[Any], types: dict[str, int], constants: dict[str, onnx.TensorProto]) -> ir.Model:
    """Of nodes, types of their outputs, and initialisers."""
    x = helper.make_tensor_value_info("x", SINGLE, None)
    last = helper.make_tensor_value_info(nodes[-1].output[0], types[nodes[-1].output[0]], None)
    inner = [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items() if name != last.name]
    graph = helper.make_graph(nodes, "g", [x], [last], list(constants.values()), value_info=inner)
    return ir.serde.deserialize_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]))


def filled(name: str, kind: int, *shape: int) -> onnx.TensorProto:
    return helper.make_tensor(name, kind, shape, [1.0] * int(np.prod(shape)))


def mixed(layer: int = HALF, weight: int = HALF) -> ir.Model:
    """Two convolutions and a product in half, a product in float32, constants of either kind, integers."""
    node = helper.make_node
    constant = node("Constant", [], ["k"], value=filled("", SINGLE, 5))
    nodes = [
        constant,
        node("Cast", ["x"], ["h"], to=HALF),
        node("Conv", ["h", "w"], ["c1"]),
        node("Conv", ["c1", "w"], ["c2"]),
        node("ConvTranspose", ["c2", "w"], ["d"]),
        node("Gemm", ["d", "m"], ["g"]),
        node("Cast", ["g"], ["wide"], to=SINGLE),
        node("MatMul", ["wide", "s"], ["p"]),
        node("MatMul", ["p", "s"], ["q"]),
        node("Add", ["q", "k"], ["y"]),
    ]
    types = {"k": SINGLE, "h": HALF, "c1": layer, "c2": HALF, "d": HALF, "g": HALF}
    types |= dict.fromkeys(("wide", "p", "q", "y"), SINGLE)
    constants = {
        "w": filled("w", weight, 2, 2, 3, 3),
        "m": filled("m", HALF, 4, 4),
        "s": filled("s", SINGLE, 3),
        "axes": numpy_helper.from_array(np.int64([1, 2]), "axes"),
    }
    return model(nodes, types, constants)


def test_the_count_by_hand():
    plan = census(mixed(), ("norm",))
    assert plan.islands == ("norm",)
    assert plan.weights == {"float16": 2 * (36 + 16), "float32": 4 * (3 + 5)}  # bytes; integers are no weights
    assert plan.layers == {
        "convolution": {"float16": 2},
        "deconvolution": {"float16": 1},
        "matmul": {"float16": 1, "float32": 2},
    }
    assert (plan.psnr, plan.largest) == (None, None)


def test_one_layer_or_weight_of_another_type_shows():
    """The planted faults: a convolution that stayed in float32, a weight in bfloat16."""
    assert census(mixed(layer=SINGLE), ()).layers["convolution"] == {"float16": 1, "float32": 1}
    assert census(mixed(weight=BRAIN), ()).weights == {"bfloat16": 72, "float16": 32, "float32": 32}


@pytest.mark.parametrize(
    ("change", "words"),
    [({"weight": TensorProto.DOUBLE}, "a constant of type DOUBLE"), ({"layer": TensorProto.DOUBLE}, "Conv of type")],
)
def test_float64_is_refused(change, words):
    with pytest.raises(EngineError, match=f"{words}.*expected float32, float16 or bfloat16"):
        census(mixed(**change), ())


def test_a_float64_constant_node_is_refused():
    node = helper.make_node
    nodes = [node("Constant", [], ["k"], value=filled("", TensorProto.DOUBLE, 1)), node("Identity", ["x"], ["y"])]
    with pytest.raises(EngineError, match="a constant of type DOUBLE"):
        census(model(nodes, {"k": TensorProto.DOUBLE, "y": SINGLE}, {}), ())


def test_a_graph_without_weights_is_empty():
    plan = census(model([helper.make_node("Identity", ["x"], ["y"])], {"y": SINGLE}, {}), ())
    assert (plan.weights, plan.layers) == ({}, {})
