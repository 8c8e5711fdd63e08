"""DiffIR as lqhq runs it: the bundle's three graphs, one after another. No torch in this process."""

from __future__ import annotations

from typing import Any

import numpy as np
from measuring.entry import Entry
from measuring.scene import SEED, scene
from numpy.typing import NDArray

from lqhq.runtime import open_bundle
from lqhq.runtime.engines import open_session
from lqhq.runtime.engines.setup import Setup

__all__ = ["diffir_feed", "graphs"]

PRIOR = 256


def diffir_feed(side: int) -> dict[str, NDArray[np.float32]]:
    """`lq` `[1, 3, side, side]` in [0, 1] of the test scene, and `noise` `[1, 256]`."""
    lq = (scene(side, side).astype(np.float32) / 255).transpose(2, 0, 1)[None]
    noise = np.random.default_rng(SEED).standard_normal((1, PRIOR), dtype=np.float32)
    return {"lq": np.ascontiguousarray(lq), "noise": noise}


def graphs(bundle: str, side: int, threads: int) -> Entry:
    """The whole network untiled: sums, prior, restoration."""
    opened = open_bundle(bundle)
    sessions = {
        role: open_session("onnx", opened.graph(role, "fp32"), Setup(device="cpu", threads=threads))
        for role in opened.manifest.graphs
    }
    feed = diffir_feed(side)
    mask = np.ones((1, 1, side, side), np.float32)

    def run() -> NDArray[Any]:
        found = sessions["reduce"].run({"lq": feed["lq"], "mask": mask})
        pooled = found["sums"] / found["count"]
        cond = sessions["encode"].run({"pooled": pooled, "noise": feed["noise"]})["cond"]
        return sessions["decode"].run({"lq": feed["lq"], "cond": cond})["hq"]

    return Entry(run=run, answer=run, note="three graphs")
