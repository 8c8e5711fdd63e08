"""lqhq's contenders. No torch here: their processes are what a deployment is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring.entry import Entry
from measuring.scene import scene
from numpy.typing import NDArray

from contenders.inputs import network_feed
from lqhq.runtime import Restorer
from lqhq.runtime.engines.onnx import OnnxSession

__all__ = ["graph", "restore"]


def graph(path: str, shape: Sequence[int], threads: int) -> Entry:
    """One call of a graph through lqhq's own session."""
    session = OnnxSession(Path(path), threads=threads)
    feed = network_feed(shape)
    return Entry(run=lambda: session.run(feed), answer=lambda: session.run(feed)["pred"])


def restore(bundle: str, side: int, threads: int, tile: int | str = "auto", overlap: int | None = None) -> Entry:
    """The whole restoration of a `side` x `side` uint8 image in memory, schedule `fast`."""
    restorer = Restorer.open(bundle, threads=threads)
    image = scene(side, side)

    def run() -> NDArray[Any]:
        return restorer.restore(image, schedule="fast", tile=tile, overlap=overlap, blend="final")

    plan = restorer.plan(image, schedule="fast", tile=tile, overlap=overlap, blend="final").plan
    note = f"{len(plan)} tile(s) of {plan.tile.width}, overlap {plan.overlap}"
    return Entry(run=run, answer=run, note=note)
