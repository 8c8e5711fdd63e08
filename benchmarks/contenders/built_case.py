"""Builds the engine of one exported case, in a process of its own, on a machine that needs no GPU.

python -m contenders.built_case CASE FOLDER     from what `traced_case` left; the engine and built.json go to FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from measuring.peak_rss import peak_rss

from contenders.engine_cases import CASES, QUICK, TARGETS
from contenders.traced_case import TRACED, TracedCase
from lqhq.runtime.engine_spec import EngineSpec
from lqhq.runtime.engines.trt.build import build_engine
from lqhq.runtime.errors import EngineError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.precision import Plan
from lqhq.runtime.profiles import parse_profile

__all__ = ["BUILT", "BuiltCase"]

BUILT = "built.json"


class BuiltCase(msgspec.Struct, frozen=True, kw_only=True):
    """What a build gave and took, all of it measured in the builder's process; or why it failed."""

    failure: str = ""
    parsed: Plan | None = None
    state: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    engine_bytes: int = 0
    peak: int = 0


def built(case: str, folder: Path) -> BuiltCase:
    """Build for `TARGETS` and write the engine, as the engine cache does."""
    found = {**CASES, **QUICK}[case]
    made = msgspec.json.decode((folder / TRACED).read_bytes(), type=TracedCase)
    graph = GraphFile(
        bundle=case,
        role=made.role,
        precision=made.precision,
        path=folder / made.graph.file,
        graph=made.graph,
        digest=made.digest,
    )
    spec = EngineSpec(flavour="tensorrt-rtx", targets=TARGETS, profiles=tuple(map(parse_profile, found.profiles)))
    try:
        engine = build_engine(graph, spec)
    except EngineError as error:
        return BuiltCase(failure=str(error), peak=peak_rss())
    (folder / "engine").write_bytes(engine.data)
    return BuiltCase(
        parsed=engine.parsed,
        state=engine.state,
        notes=engine.notes,
        seconds=engine.seconds,
        engine_bytes=engine.data.nbytes,
        peak=peak_rss(),
    )


if __name__ == "__main__":
    into = Path(sys.argv[2])
    (into / BUILT).write_bytes(msgspec.json.encode(built(sys.argv[1], into)))
