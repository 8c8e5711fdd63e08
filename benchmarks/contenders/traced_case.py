"""Exports one case, in a process of its own.

python -m contenders.traced_case CASE FOLDER     the graph goes to FOLDER, what is told of it to FOLDER/traced.json
"""

from __future__ import annotations

import sys
import time
from hashlib import file_digest, sha256
from pathlib import Path

import msgspec
from measuring.peak_rss import peak_rss

from contenders.engine_cases import CASES, QUICK
from lqhq.export.half import at_precision
from lqhq.export.trace import trace
from lqhq.runtime.manifest import Graph, Memory, Role
from lqhq.runtime.precision import Precision

__all__ = ["TRACED", "TracedCase"]

TRACED = "traced.json"


class TracedCase(msgspec.Struct, frozen=True, kw_only=True):
    """A graph as a manifest describes it, the SHA-256 over those of its files, and what tracing and checking took."""

    role: Role
    precision: Precision
    graph: Graph
    digest: str
    parameters: int
    file_bytes: int
    seconds: float
    peak: int


def traced(case: str, folder: Path) -> TracedCase:
    """Trace the case's graph into `folder`, as `lqhq export` does; the trace is checked at other sizes."""
    found = {**CASES, **QUICK}[case]
    start = time.perf_counter()
    role = found.graph()
    parameters = sum(parameter.numel() for parameter in role.plain.parameters())
    file = folder / f"{role.role}.{found.precision}.onnx"
    external, plan = trace(at_precision(role, found.precision), file, precision=found.precision)
    seconds = time.perf_counter() - start
    files = (file, *(folder / name for name in external))
    return TracedCase(
        role=role.role,
        precision=found.precision,
        graph=Graph(
            file=file.name,
            external_data=external,
            inputs=dict(role.inputs),
            outputs=dict(role.outputs),
            pred=role.pred,
            memory=Memory(fixed=1, per_pixel=0),  # of the CPU's session, which is not asked here
            plan=plan,
        ),
        digest=sha256("".join(map(_digest, files)).encode()).hexdigest(),
        parameters=parameters,
        file_bytes=sum(each.stat().st_size for each in files),
        seconds=seconds,
        peak=peak_rss(),
    )


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    into = Path(sys.argv[2])
    (into / TRACED).write_bytes(msgspec.json.encode(traced(sys.argv[1], into)))
