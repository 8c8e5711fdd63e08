"""The ONNX Runtime session: what the contract suite does not say of every engine."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engines import cuda_provider, open_session
from lqhq.runtime.engines import onnx as engine
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.errors import EngineError, OptionError


@pytest.fixture
def graph(tiny_bundle):
    return open_bundle(tiny_bundle()).graph("denoise", "fp32")


def feed(count=1, side=8):
    state = np.random.default_rng(0).random((count, 3, side, side), np.float32)
    return {"state": state, "t": np.linspace(0.2, 1, count, dtype=np.float32)}


def test_a_file_that_is_no_graph_is_our_error(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x0anot a graph")
    with pytest.raises(EngineError, match=r"broken\.onnx: found"):
        OnnxSession(broken, threads=1)


def test_a_failure_inside_the_graph_is_our_error_also_where_tensors_are_bound(tmp_path, capfd):
    import onnx
    import torch
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy"]
    shape = helper.make_tensor("s", TensorProto.INT64, [1], [7])
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    made = helper.make_graph(nodes, "seven", value[:1], value[1:], [shape])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "7.onnx")
    with OnnxSession(tmp_path / "7.onnx", threads=1) as session:
        for x in (np.zeros(5, np.float32), torch.zeros(5)):
            with pytest.raises(EngineError, match="lqhq doctor"):
                session.run({"x": x})
        assert session.run({"x": torch.ones(7)})["y"].tolist() == [1] * 7


def test_tensors_are_bound_where_they_lie(graph, monkeypatch):
    """No copy of what was fed: the engine is given the tensor's own address."""
    import torch

    seen = {}
    with OnnxSession(graph.path, threads=1, keep=frozenset({"pred"})) as session:
        real = session._session.io_binding

        def watched():
            binding = real()
            bind = binding.bind_input

            def bound(name, kind, ordinal, dtype, shape, address):
                seen[name] = kind, ordinal, dtype, tuple(shape), address
                bind(name, kind, ordinal, dtype, shape, address)

            monkeypatch.setattr(binding, "bind_input", bound)
            return binding

        monkeypatch.setattr(session._session, "io_binding", watched)
        state = torch.rand(1, 3, 8, 8)
        kept = session.run({"state": state, "t": np.ones(1, np.float32)})["pred"]
    assert seen == {"state": ("cpu", 0, np.float32, (1, 3, 8, 8), state.data_ptr())}
    assert isinstance(kept, torch.Tensor)


def test_kept_outputs_of_arrays_are_arrays(graph):
    with OnnxSession(graph.path, threads=1, keep=frozenset({"pred"})) as session:
        assert isinstance(session.run(feed())["pred"], np.ndarray)


def test_other_engines_devices_and_threads_are_refused(graph):
    with pytest.raises(OptionError, match="engine: found 'trt'"):
        open_session("trt", graph, Setup())
    with pytest.raises(OptionError, match="device: found 'gpu'"):
        open_session("onnx", graph, Setup(device="gpu"))
    with pytest.raises(OptionError, match="threads: found 0"):
        open_session("onnx", graph, Setup(threads=0))
    with pytest.raises(OptionError, match="one device"):
        OnnxSession(graph.path, device="auto", threads=1)


def no_cuda(_ort):
    raise EngineError("device", found="no NVIDIA driver", expected="CUDA", mend="Install it.")


def test_cuda_that_is_not_there_is_an_error_and_auto_says_what_it_took(graph, monkeypatch):
    monkeypatch.setattr(cuda_provider, "prepare", no_cuda)
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        open_session("onnx", graph, Setup(device="cuda:1", threads=1))
    said: list[str] = []
    with open_session("onnx", graph, Setup(device="auto", threads=1, say=said.append)) as session:
        assert session.run(feed())["pred"].shape == (1, 3, 8, 8)
    assert said == ["denoise: onnx on the CPU, since CUDA is not to be had: no NVIDIA driver"]


def test_a_silent_fallback_to_the_cpu_is_an_error(graph, monkeypatch):
    """onnxruntime-gpu without a driver gives a session on the CPU for one asked for on CUDA: seen with 1.31.1."""
    monkeypatch.setattr(cuda_provider, "prepare", lambda _ort: None)
    opened = []

    def falling(path, options, providers):
        opened.append(providers)
        return SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"], get_inputs=list, get_outputs=list)

    monkeypatch.setattr(engine.ort, "InferenceSession", falling)
    with pytest.raises(EngineError, match="device: found"):
        open_session("onnx", graph, Setup(device="cuda:1", threads=1))
    assert opened[0][0][1] == {"device_id": "1", "use_tf32": "0"}


def test_a_precision_that_the_provider_lacks_is_named(graph, tmp_path):
    """bf16 convolutions have no implementation on the CPU: found by opening one."""
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, [1, 1, 4, 4]) for name in "xy"]
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [1, 1, 1, 1], [1.0])
    made = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "half", value[:1], value[1:], [weight])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.save(model, tmp_path / "half.onnx")
    half = dataclasses.replace(graph, precision="bf16", path=tmp_path / "half.onnx")
    with pytest.raises(EngineError, match=r"a graph in bf16.*Use precision fp32"):
        open_session("onnx", half, Setup(threads=1))
