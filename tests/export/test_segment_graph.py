"""Graphs written node by node: checked, dynamic, and never half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from lqhq.export.segment_graph import SegmentGraph
from lqhq.runtime.engines.onnx import OnnxSession

SEED = 5_005


def scaled() -> tuple[SegmentGraph, str]:
    graph = SegmentGraph()
    return graph, graph.op("Mul", "x", graph.number(2.5))


def test_a_graph_runs_at_any_size(tmp_path: Path) -> None:
    graph, y = scaled()
    graph.write(tmp_path / "a" / "one.onnx", {"x": ("N", 2, "H", "W")}, y, ("N", 2, "H", "W"))
    x = np.random.default_rng(SEED).standard_normal((3, 2, 5, 4), np.float32)
    with OnnxSession(tmp_path / "a" / "one.onnx", threads=1) as session:
        np.testing.assert_array_equal(session.run({"x": x})["y"], x * np.float32(2.5))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["one.onnx"]


def test_one_node_may_have_several_outputs(tmp_path: Path) -> None:
    graph = SegmentGraph()
    first, second = graph.ops("Split", "x", outputs=2, axis=1, num_outputs=2)
    graph.write(tmp_path / "s.onnx", {"x": ("N", 4)}, graph.op("Sub", second, first), ("N", 2))
    with OnnxSession(tmp_path / "s.onnx", threads=1) as session:
        found = session.run({"x": np.array([[1, 2, 5, 9]], np.float32)})["y"]
    assert found.tolist() == [[4, 7]]


def test_what_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    graph, y = scaled()
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        graph.write(tmp_path / "s.onnx", {"x": ("N", 2)}, y, ("N", 3))
    assert list(tmp_path.iterdir()) == []
