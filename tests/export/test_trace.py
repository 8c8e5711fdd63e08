"""The traced graph: free axes, folded time scale, external data, nothing of this machine in the file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lqhq.export.family import Network
from lqhq.export.trace import OPSET, Denoise, trace
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import EngineError

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


def network(module: nn.Module) -> Network:
    return Network(module=module.eval(), channels=3, multiple=MULTIPLE, smallest=MULTIPLE, preferred=9, overlap=3)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The small network, time scale 7, its 26 kB of weights outside because the threshold is 1 kB."""
    file = tmp_path_factory.mktemp("trace") / "g.onnx"
    return file, trace(network(Small()), 7.0, file, external_above=1000)


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
    assert trace(network(Small()), 7.0, tmp_path / "h.onnx") == ()
    assert (tmp_path / "h.onnx").stat().st_size > 27 * 27 * 9 * 4


def test_the_file_is_plain(graph):
    file, _ = graph
    model = onnx.load(file, load_external_data=False)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSET)]
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"state": ["N", 3, "H", "W"], "t": ["N"], "pred": ["N", 3, "H", "W"]}
    text = file.read_bytes()
    assert b".py" not in text
    assert b"/" not in b"".join(prop.value.encode() for prop in model.metadata_props)


def test_nothing_of_the_exporter_is_shown(graph, capfd, tmp_path):
    trace(network(Small()), 1.0, tmp_path / "q.onnx")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_graph_of_other_values_is_refused(tmp_path, monkeypatch):
    from lqhq.export import trace as module

    exported = module._exported
    # As if the exporter had lost the time scale on its way.
    monkeypatch.setattr(module, "_exported", lambda wrapped, net: exported(Denoise(net.module, 1.0), net))
    with pytest.raises(EngineError, match="another output"):
        trace(network(Small()), 7.0, tmp_path / "f.onnx")
