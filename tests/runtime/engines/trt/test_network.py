"""Parsing for real: types are the graph's, counts are the plan's, what is no graph is an error."""

from __future__ import annotations

import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lqhq.runtime.engines.trt.flavour import LoadedFlavour, load_flavour
from lqhq.runtime.engines.trt.log import Words
from lqhq.runtime.engines.trt.network import Network, parse_network, read_parsed
from lqhq.runtime.engines.trt.truth import Parsed, differences
from lqhq.runtime.errors import EngineError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.precision import Precision

DEMO = Path(__file__).parents[4] / "runtime/bundles/demo/graphs/denoise.fp32.onnx"


@pytest.fixture
def rtx() -> LoadedFlavour:
    flavour = load_flavour("tensorrt-rtx")
    flavour.words.clear()
    return flavour


@pytest.fixture
def parse(rtx: LoadedFlavour) -> Callable[[Path], Network]:
    return lambda path: parse_network(rtx, rtx.module.Builder(rtx.logger), path)


def parsed(rtx: LoadedFlavour, network: Network) -> Parsed:
    return read_parsed(network.definition, rtx.module)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_what_is_parsed_is_what_was_written(
    rtx: LoadedFlavour, parse: Callable[[Path], Network], net: Callable[..., GraphFile], precision: Precision
) -> None:
    graph = net(precision)
    found = parsed(rtx, parse(graph.path))
    assert graph.graph.plan is not None
    assert found.plan.layers == graph.graph.plan.layers
    # Exactly, but for the scales of Resize, which the parser makes parameters of the layer.
    assert found.plan.weights == graph.graph.plan.weights
    assert list(differences(graph.graph, found, None)) == []
    assert found.inputs["state"] == ("float32", (-1, 3, -1, -1))


def test_external_data_is_found_beside_the_file(
    rtx: LoadedFlavour, parse: Callable[[Path], Network], net: Callable[..., GraphFile]
) -> None:
    graph = net("fp16", external=True)
    assert list(differences(graph.graph, parsed(rtx, parse(graph.path)), None)) == []


def test_lost_external_data_is_an_error(
    parse: Callable[[Path], Network], net: Callable[..., GraphFile], tmp_path: Path
) -> None:
    alone = shutil.copy(net("fp16", external=True).path, tmp_path)
    with pytest.raises(EngineError, match=r"denoise\.fp16\.onnx"):
        parse(Path(alone))


def test_the_demo_is_all_float32(rtx: LoadedFlavour, parse: Callable[[Path], Network]) -> None:
    plan = parsed(rtx, parse(DEMO)).plan
    assert plan.layers == {"convolution": {"float32": 19}, "matmul": {"float32": 10}}
    assert plan.weights.keys() == {"float32"}


@pytest.mark.parametrize("data", [b"", b"hello", b"\x08\x0a"])
def test_a_file_that_parses_as_nothing_is_an_error(
    parse: Callable[[Path], Network], tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "denoise.fp16.onnx"
    path.write_bytes(data)
    with pytest.raises(EngineError, match="expected a graph that TensorRT-RTX"):
        parse(path)


def test_an_operator_that_the_parser_lacks_is_quoted(parse: Callable[[Path], Network], tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("x", "y")]
    node = helper.make_node("Unheard", ["x"], ["y"], domain="strange", name="the_node")
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("strange", 1)]
    onnx.save_model(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "g.onnx")
    with pytest.raises(EngineError, match=r"Unheard|the_node"):
        parse(tmp_path / "g.onnx")


def test_attention_may_decompose(rtx: LoadedFlavour, parse: Callable[[Path], Network], tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    shape = ["N", 1, "L", 512]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("q", "y")]
    graph = helper.make_graph([helper.make_node("Attention", ["q", "q", "q"], ["y"])], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 23)]
    onnx.save_model(helper.make_model(graph, opset_imports=opsets, ir_version=11), tmp_path / "g.onnx")
    network = parse(tmp_path / "g.onnx")
    assert parsed(rtx, network).plan.layers == {"attention": {"float32": 1}}
    layers = [network.definition.get_layer(index) for index in range(network.definition.num_layers)]
    (boundary,) = [layer for layer in layers if layer.type.name == "ATTENTION_INPUT"]
    boundary.__class__ = rtx.module.IAttentionInputLayer
    assert boundary.attention.decomposable


class _Definition:
    """As much of a network as is looked at before it is parsed."""

    def __init__(self, asked: int) -> None:
        self.asked = asked

    def get_flag(self, _flag: Any) -> bool:
        return False


@pytest.mark.parametrize("network", [None, _Definition(2)])
def test_tensorrt_10_must_say_that_it_types_strongly(net: Callable[..., GraphFile], network: Any) -> None:
    flags = types.SimpleNamespace(STRONGLY_TYPED=1)
    flavour = LoadedFlavour(
        name="tensorrt",
        title="TensorRT",
        module=types.SimpleNamespace(NetworkDefinitionCreationFlag=flags),
        version="10.16.1",
        targets=(),
        words=Words(),
        logger=None,
    )
    asked: list[int] = []
    builder = types.SimpleNamespace(create_network=lambda bits: asked.append(bits) or network)
    with pytest.raises(EngineError, match="without strongly typed networks"):
        parse_network(flavour, builder, net("fp16").path)
    assert asked == [2]
