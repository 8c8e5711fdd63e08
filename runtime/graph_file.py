"""One graph of an opened bundle, as an engine takes it: where it lies, what it is, and its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lqhq.runtime.manifest import Graph, Role
from lqhq.runtime.precision import Precision

__all__ = ["GraphFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFile:
    """`digest` is the SHA-256, in hexadecimal, over the digests of the ONNX file and its external data, and the plan.

    The plan is in it because an engine is compared with the plan when it is built.
    """

    bundle: str  # the bundle's name
    role: Role
    precision: Precision
    path: Path
    graph: Graph
    digest: str
