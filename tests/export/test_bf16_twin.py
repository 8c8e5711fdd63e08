"""The twin of a bfloat16 graph: float32 that is rounded after every operator, and nothing less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from lqhq.export import bf16_twin
from lqhq.export.bf16_twin import write_twin
from lqhq.export.family import RoleGraph
from lqhq.export.half import at_precision
from lqhq.export.half_arithmetic import HalfArithmetic
from lqhq.export.torch_session import TorchSession
from lqhq.export.trace import trace
from lqhq.runtime import manifest as m
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import EngineError

EPS = 2.0**-8  # half a step of bfloat16, relative


class Net(nn.Module):
    """Convolutions, a norm that stays in float32, a constant, products."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.conv, self.norm, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.conv(x)) * 1.37 + 0.11)
        return self.out(h * (h.mean(dim=1, keepdim=True) + 3))


def role() -> RoleGraph:
    module, image = Net().eval(), m.Tensor(dtype="float32", shape=("N", 3, "H", "W"))
    return RoleGraph(
        role="decode",
        module=module,
        plain=module,
        inputs={"lq": image},
        outputs={"hq": image},
        examples=lambda draw, n, height, width: {"lq": draw.uniform(-1, 1, (n, 3, height, width)).astype(np.float32)},
        islands=(nn.GroupNorm,),
    )


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[RoleGraph, Path]:
    graph, file = at_precision(role(), "bf16"), tmp_path_factory.mktemp("twin") / "g.bf16.onnx"
    trace(graph, file, precision="bf16")
    return graph, file


def run(file: Path, feed: dict[str, np.ndarray]) -> np.ndarray:
    with OnnxSession(file, threads=1) as session:
        return session.run(feed)["hq"]


def rounded(array: np.ndarray) -> np.ndarray:
    return torch.from_numpy(array).bfloat16().float().numpy()


def distance(graph: RoleGraph, found: np.ndarray, feed: dict[str, np.ndarray]) -> float:
    """From PyTorch's own bfloat16, as a share of values that are not within its rounding."""
    with TorchSession(graph, graph.module, HalfArithmetic(native=True)) as session:
        wanted = session.run(feed)["hq"]
    return float((np.abs(found - wanted) > 4 * EPS * np.abs(wanted).max()).mean())


def test_it_runs_and_gives_pytorch_s_bfloat16(traced, tmp_path):
    graph, file = traced
    feed = graph.examples(np.random.default_rng(4), 2, 9, 13)
    write_twin(file, tmp_path / "twin.onnx")
    found = run(tmp_path / "twin.onnx", feed)
    assert distance(graph, found, feed) == 0
    assert np.array_equal(found, rounded(found))
    with TorchSession(graph, graph.module, HalfArithmetic()) as session:
        same = session.run(feed)["hq"] == found
    assert same.mean() > 0.4  # bit for bit


def test_a_twin_that_does_not_round_would_be_another(traced, tmp_path, monkeypatch):
    """The planted fault: the same graph in float32 throughout."""
    graph, file = traced

    def widened(graph: ir.Graph, node: ir.Node, output: ir.Value) -> None:
        output.dtype = ir.DataType.FLOAT
        if node.op_type == "Cast":
            node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT)

    monkeypatch.setattr(bf16_twin, "_round", widened)
    write_twin(file, tmp_path / "twin.onnx")
    feed = graph.examples(np.random.default_rng(4), 2, 9, 13)
    found = run(tmp_path / "twin.onnx", feed)
    assert not np.array_equal(found, rounded(found))
    with TorchSession(graph, graph.module, HalfArithmetic()) as session:
        assert (session.run(feed)["hq"] == found).mean() < 0.05


def test_the_graph_itself_is_left_alone_and_its_twin_holds_casts_of_bfloat16_only(traced, tmp_path):
    _, file = traced
    before = file.read_bytes()
    write_twin(file, tmp_path / "twin.onnx")
    assert file.read_bytes() == before
    model = onnx.load(tmp_path / "twin.onnx")
    assert {(item.domain, item.version) for item in model.opset_import} == {("", bf16_twin.OPSET)}
    assert all(tensor.data_type != onnx.TensorProto.BFLOAT16 for tensor in model.graph.initializer)
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    narrow = {node.output[0] for node in casts if node.attribute[0].i == onnx.TensorProto.BFLOAT16}
    users = [node for node in model.graph.node if narrow & set(node.input)]
    assert narrow
    assert all(node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT for node in users)


def test_the_plain_graph_does_not_run_on_this_cpu(traced):
    """Where this fails, ONNX Runtime has learned bfloat16 convolutions, and twins can go."""
    with pytest.raises(EngineError):
        OnnxSession(traced[1], threads=1)


def test_external_weights_are_read_and_written_beside(tmp_path):
    (tmp_path / "twin").mkdir()
    graph, file = at_precision(role(), "bf16"), tmp_path / "g.onnx"
    external = trace(graph, file, precision="bf16", external_above=10).external
    assert external == ("g.onnx.data",)
    write_twin(file, tmp_path / "twin" / "g.onnx")
    assert sorted(path.name for path in (tmp_path / "twin").iterdir()) == ["g.onnx", "g.onnx.data"]
    feed = graph.examples(np.random.default_rng(4), 1, 5, 6)
    assert distance(graph, run(tmp_path / "twin" / "g.onnx", feed), feed) == 0


@pytest.mark.parametrize("forward", [lambda x: x, lambda x: torch.cat([x, x * 2], dim=1)[:, 1:4]])
def test_outputs_that_are_casts_themselves(tmp_path, forward: Callable[[Tensor], Tensor]):
    """A graph of which nothing is left but its casts; and views."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.full((1, 1, 1, 1), 1.5))

        def forward(self, x: Tensor) -> Tensor:
            return forward(x) * self.gain

    module = Plain().eval()
    image = m.Tensor(dtype="float32", shape=("N", 3, "H", "W"))
    graph = RoleGraph(
        role="decode",
        module=module,
        plain=module,
        inputs={"lq": image},
        outputs={"hq": image},
        examples=role().examples,
    )
    half = at_precision(graph, "bf16")
    trace(half, tmp_path / "g.onnx", precision="bf16")
    write_twin(tmp_path / "g.onnx", tmp_path / "twin.onnx")
    feed = graph.examples(np.random.default_rng(4), 1, 5, 6)
    with TorchSession(half, half.module, HalfArithmetic(native=True)) as session:
        assert np.array_equal(run(tmp_path / "twin.onnx", feed), session.run(feed)["hq"])
