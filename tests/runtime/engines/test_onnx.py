"""The ONNX Runtime session."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.engines import open_session
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import EngineError, OptionError


@pytest.fixture
def graph(tiny_bundle):
    return tiny_bundle() / "graphs" / "denoise.fp32.onnx"


def feed(count=1, side=8):
    state = np.random.default_rng(0).random((count, 3, side, side), np.float32)
    return {"state": state, "t": np.linspace(0.2, 1, count, dtype=np.float32)}


def test_any_batch_and_size_runs(graph):
    with OnnxSession(graph, threads=1) as session:
        for count, side in ((1, 8), (3, 12), (2, 64)):
            assert session.run(feed(count, side))["pred"].shape == (count, 3, side, side)


def test_a_sample_is_itself_in_any_batch(graph):
    with OnnxSession(graph, threads=1) as session:
        whole = feed(3)
        together = session.run(whole)["pred"]
        for index in range(3):
            alone = session.run({name: array[index : index + 1] for name, array in whole.items()})
            assert alone["pred"][0] == pytest.approx(together[index], abs=1e-6)


def test_arrays_need_not_be_contiguous(graph):
    with OnnxSession(graph, threads=1) as session:
        whole = feed(1, 16)
        view = {**whole, "state": whole["state"][:, :, ::2, ::2]}
        copy = {**whole, "state": view["state"].copy()}
        assert np.array_equal(session.run(view)["pred"], session.run(copy)["pred"])


def test_failures_are_ours(graph, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x0anot a graph")
    with pytest.raises(EngineError, match=r"broken\.onnx: found"):
        OnnxSession(broken, threads=1)
    with OnnxSession(graph, threads=1) as session, pytest.raises(EngineError, match="lqhq doctor"):
        session.run({"state": np.zeros((1, 3, 8, 8), np.float32)})


def test_a_closed_session_says_so(graph):
    session = OnnxSession(graph, threads=1)
    session.close()
    session.close()
    with pytest.raises(EngineError, match="a closed session"):
        session.run(feed())


def test_other_devices_and_engines_are_refused(graph):
    with pytest.raises(EngineError, match="on the CPU only"):
        OnnxSession(graph, device="cuda", threads=1)
    with pytest.raises(OptionError, match="engine: found 'trt'"):
        open_session("trt", graph, device="cpu", threads=1)
