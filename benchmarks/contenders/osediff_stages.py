"""One stage of OSEDiff as lqhq runs it: the bundle's graph of that role. No torch in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from measuring.entry import Entry
from numpy.typing import NDArray

from contenders.osediff_feeds import stage_feed
from lqhq.runtime.bundle import read_manifest
from lqhq.runtime.engines.onnx import OnnxSession

__all__ = ["stage"]


def stage(bundle: str, role: str, side: int, width: int, words: int, threads: int) -> Entry:
    """One call, float32; `side` in latents."""
    graphs = {name: one["fp32"].file for name, one in read_manifest(Path(bundle)).graphs.items()}
    session = OnnxSession(Path(bundle) / graphs[role], threads=threads)  # type: ignore[index]
    feed = stage_feed(role, side, width, words)

    def run() -> NDArray[Any]:
        (found,) = session.run(feed).values()
        return found

    return Entry(run=run, answer=run, note="one graph")
