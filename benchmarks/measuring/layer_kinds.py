"""Where a graph's time goes, by kind of layer, as ONNX Runtime's own profiler tells it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

__all__ = ["KINDS", "kind_of", "layer_kinds"]

KINDS: Mapping[str, frozenset[str]] = {
    "matrix product": frozenset({"MatMul", "FusedMatMul", "Gemm", "FusedGemm"}),
    "GELU": frozenset({"Gelu", "BiasGelu", "Erf"}),
    "reduction": frozenset({"ReduceMean", "ReduceSum", "ReduceL2", "ReduceSumSquare", "Softmax"}),
    "element by element": frozenset(
        {"Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Reciprocal", "Clip", "Max", "Expand", "LeakyRelu"}
    ),
    "change of layout": frozenset({"ReorderInput", "ReorderOutput", "Transpose"}),
    "copy": frozenset({"Split", "Slice", "Concat", "DepthToSpace", "SpaceToDepth", "Resize", "Pad", "Reshape"}),
}


def kind_of(operator: str, shapes: Sequence[Sequence[int]]) -> str:
    """The kind of one node, from its operator and the shapes of its inputs; the second one's are the weights."""
    if operator in ("Conv", "FusedConv", "NhwcFusedConv"):
        into, high = shapes[1][1], shapes[1][2]
        if high == 1:
            return "convolution 1x1"
        return "convolution, depth-wise" if into == 1 else "convolution, others"
    return next((kind for kind, operators in KINDS.items() if operator in operators), "others")


def layer_kinds(
    graph: Path, feed: Mapping[str, NDArray[Any]], threads: int, folder: Path, rounds: int = 3
) -> Counter[str]:
    """Seconds by kind, of the fastest of `rounds` runs after one to warm up. The profile lies in `folder`."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_mem_pattern = False
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    for _ in range(1 + rounds):
        session.run(None, dict(feed))
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    runs = [event for event in events if event.get("name") == "model_run"][1:]
    return min((_within(run, events) for run in runs), key=lambda kinds: kinds.total())


def _within(run: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for event in events:
        inside = run["ts"] <= event.get("ts", -1) < run["ts"] + run["dur"]
        if inside and event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            shapes = [list(next(iter(given.values()), [])) for given in event["args"].get("input_type_shape", [])]
            kinds[kind_of(event["args"]["op_name"], shapes)] += event["dur"] / 1e6
    return kinds
