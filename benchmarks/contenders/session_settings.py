"""The same graph in ONNX Runtime sessions that differ in one setting from `lqhq.runtime.engines.onnx`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime as ort
from measuring.entry import Entry

from contenders.inputs import network_feed
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.session import Feed

__all__ = ["current", "varied"]

LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def feeds(shapes: Sequence[Sequence[int]]) -> list[Feed]:
    return [network_feed(shape) for shape in shapes]


def current(path: str, shapes: Sequence[Sequence[int]], threads: int) -> Entry:
    """lqhq's session as it is; one run is one call for each shape."""
    session, given = OnnxSession(Path(path), threads=threads), feeds(shapes)
    return Entry(run=lambda: [session.run(feed)["pred"].shape for feed in given])


def varied(
    path: str,
    shapes: Sequence[Sequence[int]],
    threads: int,
    *,
    arena: bool = True,
    pattern: bool = False,
    level: str = "all",
    entries: Mapping[str, str] | None = None,
) -> Entry:
    """lqhq's settings, written out again, with what is given changed; `entries` are session config entries."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = LEVELS[level]
    options.enable_cpu_mem_arena, options.enable_mem_pattern = arena, pattern
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    session, given = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]), feeds(shapes)
    return Entry(run=lambda: [session.run(["pred"], feed)[0].shape for feed in given])
