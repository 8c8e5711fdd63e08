"""Compares the segments of a bundle with the PyTorch network: strip by strip against the formula for the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.export.family import Arrays, Recipe, RoleGraph
from lqhq.export.reference import reference_outputs
from lqhq.export.sensitivity import forward_bound
from lqhq.runtime.bundle import Bundle
from lqhq.runtime.bundle_sessions import close_sessions, open_sessions
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.geometry import Size
from lqhq.runtime.manifest import Role
from lqhq.runtime.parity import FORWARD, Case, compare
from lqhq.runtime.segment_plan import Step, plan_segments
from lqhq.runtime.segments import Segmented

__all__ = ["validate_segments"]

Array = NDArray[np.float32]
LATENT = (7, 5)  # sides, odd: more rows than a strip of any segment has
STRIP_ROWS = 3  # at most, so that every segment has seams


def validate_segments(recipe: Recipe, bundle: Bundle, *, seed: int, threads: int) -> Iterator[Case]:
    """One case for each role that has segments. Raises `EngineError` when one does not run."""
    graphs = {graph.role: graph for graph in recipe.graphs}
    for role in bundle.manifest.segments:
        graph = graphs[role]
        feed = graph.examples(np.random.default_rng(seed), 1, *LATENT)
        ((name, wanted),) = reference_outputs(graph, feed).items()
        found = _run(bundle, graph, feed, np.empty_like(wanted), threads)
        tolerance = msgspec.structs.replace(FORWARD, max_abs=forward_bound(graph, feed))
        low, high = recipe.pixels.range
        case = f"{'x'.join(map(str, wanted.shape))}, {name}"
        yield compare(f"{role} in strips", case, found, wanted, peak=high - low, tolerance=tolerance)


def _run(bundle: Bundle, graph: RoleGraph, feed: Arrays, out: Array, threads: int) -> Array:
    """`out` `[1, C, H, W]`, filled by the segments of the role."""
    inputs = {"input" if name != "noise" else name: array[0] for name, array in feed.items()}

    def store(top: int, rows: Array) -> None:
        out[0, :, top : top + rows.shape[1]] = rows

    stages = Segmented(
        graph.role,
        _steps(bundle, graph.role, inputs),
        inputs={name: _reader(array) for name, array in inputs.items()},
        output=store,
    )
    sessions = open_sessions(bundle, "onnx", "fp32", Setup(threads=threads), thrifty=True)
    try:
        while (call := stages.ready()) is not None:
            stages.done(call, sessions[call.role].run(stages.feed(call)))
    finally:
        stages.close()
        close_sessions(sessions)
    return out


def _reader(array: Array) -> Callable[[int, int], Array]:
    return lambda top, count: array[:, top : top + count]


def _steps(bundle: Bundle, role: Role, inputs: Arrays) -> tuple[Step, ...]:
    """Strips of `STRIP_ROWS` rows at most, or as many tokens; even where a segment halves."""
    size = Size(*inputs["input"].shape[1:])
    channels = {name: array.shape[0] for name, array in inputs.items()}
    steps = plan_segments(bundle.manifest.segments[role], size, channels=channels, budget=1 << 40)
    return tuple(
        replace(step, height=max(step.segment.down, STRIP_ROWS // step.segment.down * step.segment.down))
        for step in steps
    )
