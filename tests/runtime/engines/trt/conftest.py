"""A small half-precision network as ONNX, written by hand, and the `GraphFile` that a bundle would hold of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.engine_spec import EngineSpec, Profile, Range
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.manifest import Graph, Memory, Tensor
from lqhq.runtime.precision import FLOATS, Plan, Precision

CHANNELS = 64
IMAGE = Tensor(dtype="float32", shape=("N", 3, "H", "W"))
HIGH = Tensor(dtype="float32", shape=("N", 3, "2H", "2W"))
TIME = Tensor(dtype="float32", shape=("N",), per="sample")
LARGE = Profile(batch=Range(1, 1, 2), height=Range(16, 16, 16), width=Range(16, 16, 16))
RANGE = Profile(batch=Range(1, 1, 1), height=Range(8, 16, 16), width=Range(8, 16, 16))


def write_net(path: Path, precision: Precision, *, external: bool = False, channels: int = CHANNELS) -> Plan:
    """state [N,3,H,W], t [N] -> pred [N,3,2H,2W]: conv, t's gemm, group norm in fp32, conv, deconv (conv in bf16).

    The plan is counted from the sizes as they are written here, not by reading the file.
    """
    import onnx
    from onnx import TensorProto, helper

    number = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    size = 4 if precision == "fp32" else 2
    random = np.random.default_rng(41)
    constants: list[Any] = []
    weights = {FLOATS[precision]: 0, "float32": 0}

    def constant(name: str, *shape: int, island: bool = False) -> str:
        values = random.normal(size=shape).astype(np.float32) * 0.1
        kind = TensorProto.FLOAT if island else number
        # bfloat16 is the upper half of float32; NumPy has no such type, so the bytes are cut by hand.
        halves = values.view(np.uint32) >> 16
        raw = {TensorProto.FLOAT: values, TensorProto.FLOAT16: values.astype(np.float16)}.get(kind)
        data = halves.astype(np.uint16).tobytes() if raw is None else raw.tobytes()
        constants.append(helper.make_tensor(name, kind, list(shape), data, raw=True))
        weights["float32" if island else FLOATS[precision]] += values.size * (4 if island else size)
        return name

    def cast(source: str, target: str, kind: int) -> Any:
        return helper.make_node("Cast", [source], [target], to=kind)

    def conv(source: str, target: str, out: int, into: int) -> Any:
        inputs = [source, constant(f"{target}.w", out, into, 3, 3), constant(f"{target}.b", out)]
        return helper.make_node("Conv", inputs, [target], pads=[1, 1, 1, 1])

    constants.append(helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]))
    constants.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
    constants.append(helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 2, 2]))
    nodes = [
        cast("state", "half", number),
        cast("t", "half_t", number),
        conv("half", "head", channels, 3),
        helper.make_node("Unsqueeze", ["half_t", "one"], ["column"]),
        helper.make_node(
            "Gemm", ["column", constant("time.w", channels, 1), constant("time.b", channels)], ["time"], transB=1
        ),
        helper.make_node("Unsqueeze", ["time", "axes"], ["bias"]),
        helper.make_node("Add", ["head", "bias"], ["body"]),
        cast("body", "single", TensorProto.FLOAT),
        helper.make_node(
            "GroupNormalization",
            ["single", constant("norm.w", channels, island=True), constant("norm.b", channels, island=True)],
            ["normed"],
            num_groups=4,
        ),
        cast("normed", "again", number),
        conv("again", "deep", channels, channels),
    ]
    layers: dict[Any, Any] = {"convolution": {FLOATS[precision]: 3}, "matmul": {FLOATS[precision]: 1}}
    if precision == "bf16":  # RTX 1.7 compiles no bfloat16 deconvolution
        nodes.append(helper.make_node("Resize", ["deep", "", "scales"], ["high"], mode="nearest"))
    else:
        held = [constant("up.w", channels, channels, 2, 2), constant("up.b", channels)]
        nodes.append(helper.make_node("ConvTranspose", ["deep", *held], ["high"], strides=[2, 2]))
        layers["deconvolution"] = {FLOATS[precision]: 1}
    nodes += [conv("high", "tail", 3, channels), cast("tail", "pred", TensorProto.FLOAT)]
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["N", 3, "H", "W"]),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N"]),
        ],
        [helper.make_tensor_value_info("pred", TensorProto.FLOAT, ["N", 3, "2H", "2W"])],
        constants,
    )
    opset = 22 if precision == "bf16" else 21
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=100)
    return Plan(weights={name: count for name, count in weights.items() if count}, layers=layers)


def graph_file(path: Path, precision: Precision, plan: Plan | None, **fields: Any) -> GraphFile:
    """What a bundle would hold of the network at `path`; `fields` replace those of the manifest's graph."""
    graph = Graph(
        file=f"graphs/denoise.{precision}.onnx",
        memory=Memory(fixed=1, per_pixel=1.0),
        **{"inputs": {"state": IMAGE, "t": TIME}, "outputs": {"pred": HIGH}, "plan": plan, **fields},
    )
    return GraphFile(bundle="net", role="denoise", precision=precision, path=path, graph=graph, digest="0" * 64)


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., GraphFile]:
    """`net(precision, external=False, channels=64)`: the network as a bundle would hold it."""

    def build(precision: Precision, *, external: bool = False, channels: int = CHANNELS) -> GraphFile:
        path = tmp_path_factory.mktemp("net") / f"denoise.{precision}.onnx"
        return graph_file(path, precision, write_net(path, precision, external=external, channels=channels))

    return build


@pytest.fixture
def spec() -> Callable[..., EngineSpec]:
    """`spec(*targets, profiles=...)` of TensorRT-RTX."""

    def make(*targets: str, profiles: tuple[Profile, ...] = (LARGE, RANGE)) -> EngineSpec:
        return EngineSpec(flavour="tensorrt-rtx", targets=targets or ("sm89",), profiles=profiles)

    return make


@pytest.fixture
def like() -> Callable[..., GraphFile]:
    """`like(graph, plan=..., inputs=..., outputs=...)`: the same file under another manifest."""

    def change(graph: GraphFile, **fields: Any) -> GraphFile:
        return graph_file(graph.path, graph.precision, fields.pop("plan", graph.graph.plan), **fields)

    return change
