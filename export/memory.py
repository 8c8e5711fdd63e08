"""Measures what the engine takes: peak bytes = fixed + (per_pixel * P + per_pair * P^2) * batch.

Each size runs in a process of its own, because a process never gives its peak back.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lqhq.export.family import RoleGraph
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import round_up
from lqhq.runtime.manifest import Memory

__all__ = ["fit", "measure_memory"]

SAFETY = 1.25  # the engine's arena grows in steps, and other machines have other thread counts
SIDES = (64, 128, 320)  # two are used: the largest whose attention stays below SCORE_BYTES, and the one before it
SCORE_BYTES = 256 << 20
LIMIT_S = 300


def measure_memory(file: Path, graph: RoleGraph) -> Memory:
    """Peak memory of the graph in `file` on this machine's CPU with a quarter on top.

    One that takes no image has no line over pixels. Raises `EngineError` when a measuring process fails.
    """
    if not graph.takes_image:
        return Memory(fixed=round(SAFETY * _peak(file, 1)), per_pixel=0.0)
    if graph.probed is not None:
        return fit([(side * side, _peak(file, side)) for side in graph.probed], per_pair=graph.per_pair)
    small = [side for side in SIDES[1:] if graph.per_pair * side**4 <= SCORE_BYTES]
    high = SIDES.index(small[-1]) if small else 1
    sides = [max(graph.smallest, round_up(side, graph.multiple)) for side in SIDES[high - 1 : high + 1]]
    if sides[0] == sides[1]:
        sides[1] *= 2
    points = [(side * side, _peak(file, side)) for side in sides]
    return fit(points, per_pair=graph.per_pair)


def fit(points: list[tuple[int, int]], *, per_pair: float) -> Memory:
    """The line over pixels through two (pixels, bytes) points, and attention's share, all times `SAFETY`.

    That share, `per_pair` * pixels^2, is known from the network and taken out of the points first.
    """
    (small, low), (large, high) = ((pixels, used - per_pair * pixels**2) for pixels, used in points)
    slope = max(high - low, 1.0) / (large - small)
    fixed = max(low - slope * small, 1.0)
    return Memory(fixed=round(SAFETY * fixed), per_pixel=SAFETY * slope, per_pair=SAFETY * per_pair)


def _peak(file: Path, side: int) -> int:
    command = [sys.executable, "-m", "lqhq.export.memory_probe", str(file), str(side), str(side)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S)
        return int(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        detail = str(getattr(error, "stderr", "") or error).strip()
        raise EngineError(
            f"measuring memory of {file.name} at {side}x{side}",
            found=detail.splitlines()[-1][:300] if detail else type(error).__name__,
            expected="a run of the exported graph",
            mend="Close other programs, or export on a machine with more memory.",
        ) from error
