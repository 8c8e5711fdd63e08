"""The memory line of a graph."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lqhq.export.family import RoleGraph
from lqhq.export.memory import SAFETY, fit, measure_memory
from lqhq.export.memory_probe import peak_bytes
from lqhq.runtime.errors import EngineError
from lqhq.runtime.manifest import Tensor


def role(**inputs: tuple[int | str, ...]) -> RoleGraph:
    """What the measuring must know of a graph: its inputs, and the sides that it takes."""
    return RoleGraph(
        role="denoise",
        module=None,  # type: ignore[arg-type]
        plain=None,  # type: ignore[arg-type]
        inputs={name: Tensor(dtype="float32", shape=shape) for name, shape in inputs.items()},
        outputs={},
        examples=lambda draw, n, height, width: {},
        multiple=4,
        smallest=8,
    )


def test_the_line_passes_above_its_points():
    memory = fit([(100, 1_000), (300, 2_000)], per_pair=0.0)
    assert memory.per_pixel == pytest.approx(SAFETY * 5)
    assert memory.fixed == pytest.approx(SAFETY * 500, abs=1)
    assert memory.per_pair == 0


def test_attention_is_covered_at_every_size():
    """bytes = 1000 + 2 p + 0.01 p^2, known at two small sizes only."""

    def used(pixels: int) -> float:
        return 1000 + 2 * pixels + 0.01 * pixels**2

    points = [(pixels, round(used(pixels))) for pixels in (100, 400)]
    for pixels in (100, 5_000, 1_000_000):
        assert used(pixels) < fit(points, per_pair=0.01).peak(pixels) < 1.3 * used(pixels)
    assert fit(points, per_pair=0.0).peak(5_000) < used(5_000)  # the planted fault


def test_noise_in_the_measure_gives_no_negative_numbers():
    memory = fit([(100, 2_000), (300, 1_900)], per_pair=0.0)
    assert memory.fixed >= 1
    assert memory.per_pixel > 0


def test_a_graph_is_measured_in_processes_of_its_own(tmp_path):
    """concat(state, state, ..., state) of 32 copies: at least 384 bytes per pixel beyond its input."""
    image = ["N", 3, "H", "W"]
    nodes = [
        helper.make_node("Concat", ["state"] * 32, ["wide"], axis=1),
        helper.make_node("ReduceSum", ["wide"], ["sum"]),
        helper.make_node("Mul", ["state", "sum"], ["scaled"]),
        helper.make_node("ReduceSum", ["t"], ["time"]),
        helper.make_node("Mul", ["scaled", "time"], ["pred"]),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("state", image), ("t", ["N"]))]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("pred", TensorProto.FLOAT, image)])
    file = tmp_path / "g.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), file)
    memory = measure_memory(file, role(state=("N", 3, "H", "W"), t=("N",)))
    assert 200 < memory.per_pixel < 2_000
    assert 20e6 < memory.fixed < 400e6
    with pytest.raises(EngineError, match=r"measuring memory of absent\.onnx at 128x128"):
        measure_memory(tmp_path / "absent.onnx", role(state=("N", 3, "H", "W")))


def test_a_graph_without_images_has_no_line_over_pixels(tmp_path):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 8]) for name in ("pooled", "noise", "cond")]
    graph = helper.make_graph([helper.make_node("Add", ["pooled", "noise"], ["cond"])], "g", values[:2], values[2:])
    file = tmp_path / "g.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), file)
    memory = measure_memory(file, role(pooled=("N", 8), noise=("N", 8)))
    assert (memory.per_pixel, memory.per_pair) == (0, 0)
    assert 20e6 < memory.fixed < 400e6


def test_the_peak_is_this_process_own():
    """getrusage would start at the parent's peak; a child of this fat process must report a small one."""
    code = "from lqhq.export.memory_probe import peak_bytes; print(peak_bytes())"
    fat = np.ones(300 << 20, np.uint8)
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert peak_bytes() > fat.nbytes
    assert child < fat.nbytes // 2
