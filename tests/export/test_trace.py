"""The traced graph: free axes, folded time scale, external data, nothing of this machine in the file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lqhq.export import trace as tracing
from lqhq.export.families.indi.recipe import Denoise
from lqhq.export.family import RoleGraph
from lqhq.export.half import at_precision
from lqhq.export.trace import OPSETS, trace
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import EngineError
from lqhq.runtime.manifest import Tensor

MULTIPLE = 3


class Small(nn.Module):
    """Folds cells of 3 pixels, so that sides must be multiples of 3; `t` scales."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv = nn.Conv2d(27, 27, 3, padding=1)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        h = self.conv(nn.functional.pixel_unshuffle(x, MULTIPLE)) * torch.sin(t)[:, None, None, None]
        return x + nn.functional.pixel_shuffle(h, MULTIPLE)


def denoise(time_scale: float, plain: nn.Module | None = None) -> RoleGraph:
    """The small network as a role; `plain` is what it is compared with, itself by default."""
    module = Denoise(Small().eval(), time_scale)
    image = Tensor(dtype="float32", shape=("N", 3, "H", "W"))

    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> dict[str, np.ndarray]:
        state, t = draw.uniform(-1, 1, (n, 3, height, width)), draw.uniform(0.1, 1, n)
        return {"state": state.astype(np.float32), "t": t.astype(np.float32)}

    return RoleGraph(
        role="denoise",
        module=module,
        plain=plain or module,
        inputs={"state": image, "t": Tensor(dtype="float32", shape=("N",))},
        outputs={"pred": image},
        examples=examples,
        multiple=MULTIPLE,
        smallest=MULTIPLE,
    )


class Enlarge(nn.Module):
    """Two inputs, an image and a vector, to two outputs: an image four times as large, and a mean."""

    def forward(self, lq: torch.Tensor, cond: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        large = nn.functional.interpolate(lq, scale_factor=4.0, mode="nearest")
        return large * cond[:, :3, None, None], lq.mean(dim=(2, 3))


def enlarge() -> RoleGraph:
    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> dict[str, np.ndarray]:
        lq, cond = draw.uniform(0, 1, (n, 3, height, width)), draw.uniform(0, 1, (n, 5))
        return {"lq": lq.astype(np.float32), "cond": cond.astype(np.float32)}

    return RoleGraph(
        role="decode",
        module=Enlarge(),
        plain=Enlarge(),
        inputs={
            "lq": Tensor(dtype="float32", shape=("N", 3, "H", "W")),
            "cond": Tensor(dtype="float32", shape=("N", 5), per="image"),
        },
        outputs={
            "hq": Tensor(dtype="float32", shape=("N", 3, "4H", "4W")),
            "mean": Tensor(dtype="float32", shape=("N", 3)),
        },
        examples=examples,
    )


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The small network, time scale 7, its 26 kB of weights outside because the threshold is 1 kB."""
    file = tmp_path_factory.mktemp("trace") / "g.onnx"
    return file, trace(denoise(7.0), file, external_above=1000).external


def test_every_multiple_and_batch_and_the_time_scale(graph):
    file, _ = graph
    draw = np.random.default_rng(3)
    module = Small()
    with OnnxSession(file, threads=1) as session, torch.no_grad():
        for n, h, w in ((1, 1, 1), (1, 5, 2), (4, 2, 7)):
            state = draw.uniform(-1, 1, (n, 3, h * MULTIPLE, w * MULTIPLE)).astype(np.float32)
            t = draw.uniform(0.1, 1, n).astype(np.float32)
            found = session.run({"state": state, "t": t})["pred"]
            right, wrong = (module(torch.from_numpy(state), torch.from_numpy(t) * scale).numpy() for scale in (7, 1))
            assert np.abs(found - right).max() < 1e-5
            assert np.abs(found - wrong).max() > 1e-2


def test_weights_go_outside_above_the_threshold_only(graph, tmp_path):
    file, external = graph
    assert external == ("g.onnx.data",)
    assert (file.parent / "g.onnx.data").stat().st_size >= 27 * 27 * 9 * 4
    assert file.stat().st_size < 20_000
    assert trace(denoise(7.0), tmp_path / "h.onnx").external == ()
    assert (tmp_path / "h.onnx").stat().st_size > 27 * 27 * 9 * 4


def test_the_file_is_plain(graph):
    file, _ = graph
    model = onnx.load(file, load_external_data=False)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSETS["fp32"])]
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"state": ["N", 3, "H", "W"], "t": ["N"], "pred": ["N", 3, "H", "W"]}
    text = file.read_bytes()
    assert b".py" not in text
    assert b"/" not in b"".join(prop.value.encode() for prop in model.metadata_props)


def test_nothing_of_the_exporter_is_shown(graph, capfd, tmp_path):
    trace(denoise(1.0), tmp_path / "q.onnx")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_several_inputs_and_outputs_and_multiples_of_the_sides(tmp_path):
    file, graph = tmp_path / "decode.onnx", enlarge()
    assert trace(graph, file).external == ()
    found = onnx.load(file).graph
    axes = {value.name: value.type.tensor_type.shape.dim for value in (*found.input, *found.output)}
    shapes = {name: [axis.dim_param or axis.dim_value for axis in dims] for name, dims in axes.items()}
    assert shapes == {"lq": ["N", 3, "H", "W"], "cond": ["N", 5], "hq": ["N", 3, "4H", "4W"], "mean": ["N", 3]}
    assert found.name == "decode"
    feed = graph.examples(np.random.default_rng(1), 1, 3, 7)
    with OnnxSession(file, threads=1) as session:
        assert session.run(feed)["hq"].shape == (1, 3, 12, 28)


def test_a_graph_of_other_values_is_refused(tmp_path):
    """As if the exporter had lost the time scale on its way, or a rewritten network a factor."""
    with pytest.raises(
        EngineError, match=r"denoise graph: found another pred than the network's at state \[1, 3, 9, 6\]"
    ):
        trace(denoise(1.0, plain=Denoise(Small().eval(), 7.0)), tmp_path / "f.onnx")


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """The small network in half precisions: what was traced, and where it is."""
    folder, found = tmp_path_factory.mktemp("halves"), {}
    for precision in ("fp16", "bf16"):
        half = at_precision(denoise(7.0), precision)
        found[precision] = (
            folder / f"g.{precision}.onnx",
            trace(half, folder / f"g.{precision}.onnx", precision=precision),
        )
    return found


@pytest.mark.parametrize(("precision", "kind"), [("fp16", "FLOAT16"), ("bf16", "BFLOAT16")])
def test_half_precision_is_explicit_inside_and_float32_outside(halves, precision, kind):
    file, (external, plan) = halves[precision]
    model = onnx.load(file)
    assert external == ()
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSETS[precision])]
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    types = {onnx.TensorProto.DataType.Name(one.data_type) for one in model.graph.initializer if one.dims[:1] == [27]}
    assert types == {kind}
    name = {"fp16": "float16", "bf16": "bfloat16"}[precision]
    assert plan.layers == {"convolution": {name: 1}}
    assert plan.weights[name] == 2 * (27 * 27 * 9 + 27)


def test_the_plan_of_float32_is_counted_too(tmp_path):
    plan = trace(denoise(7.0), tmp_path / "g.onnx").plan
    assert plan.layers == {"convolution": {"float32": 1}}
    assert plan.weights["float32"] >= 4 * (27 * 27 * 9 + 27)
    assert plan.islands == ()


def test_a_half_graph_of_other_values_is_refused(tmp_path, monkeypatch):
    """The planted fault: what PyTorch's half gives is right, the traced graph lost the time scale."""
    right, wrong = at_precision(denoise(7.0), "fp16"), at_precision(denoise(1.0), "fp16")
    traced = tracing._exported
    monkeypatch.setattr(tracing, "_exported", lambda graph, opset: traced(wrong, opset))
    with pytest.raises(EngineError, match="found another pred"):
        trace(right, tmp_path / "f.onnx", precision="fp16")
