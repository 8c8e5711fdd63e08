"""Child of `memory.py`: runs a graph once at one size and prints this process's peak memory in bytes.

    python -m lqhq.export.memory_probe GRAPH HEIGHT WIDTH

Imports what the runtime imports, no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lqhq.runtime.axes import shape_of
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.onnx_file import read_onnx

__all__ = ["peak_bytes"]


def peak_bytes() -> int:
    """Highest resident memory of this process, from /proc.

    Not getrusage: a child's ru_maxrss starts at what its parent held when it forked, which here is a process
    with torch.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def _run(graph: Path, height: int, width: int) -> None:
    """One sample of zeros, in the shapes that the graph itself names."""
    feed = {
        name: np.zeros(shape_of([side or 1 for side in value.shape or ()], 1, height, width), value.dtype)
        for name, value in read_onnx(graph, graph.name).inputs.items()
    }
    with OnnxSession(graph, threads=cpu_count()) as session:
        session.run(feed)


if __name__ == "__main__":
    _run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    print(peak_bytes())
