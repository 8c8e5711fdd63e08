"""Replays the reference arrays that a bundle carries on this machine: no checkpoint and no torch needed."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.bundle import Bundle
from lqhq.runtime.engines import open_session
from lqhq.runtime.golden_file import read_golden, unusable
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.parity import FINISHED, FORWARD, MOST_CHANGED, Case, Report, compare
from lqhq.runtime.restorer import Restorer

__all__ = ["DENOISE_GOLDENS", "IMAGE_GOLDEN", "replay"]

DENOISE_GOLDENS = "goldens/denoise.npz"  # <case>.state, <case>.t, <case>.pred
IMAGE_GOLDEN = "goldens/image.npz"  # image, hq, schedule, changed (share of values that may differ), start, step
# Kind and number of axes of every array, by the last part of its name.
ARRAYS = {
    "state": (np.float32, 4),
    "t": (np.float32, 1),
    "pred": (np.float32, 4),
    "image": (np.uint8, 3),
    "hq": (np.uint8, 3),
    "start": (np.float32, 3),
    "step": (np.float32, 4),
    "changed": (np.float64, 0),
    "schedule": (np.str_, 0),
}


def replay(bundle: Bundle, *, threads: int | None = None) -> Report:
    """Run every golden of `bundle` and compare with what PyTorch gave at export.

    Raises `BundleError` when the bundle carries none or they are not what export writes, `EngineError` when a graph
    does not run, `OptionError` for a number of threads that the engine does not take.
    """
    threads = cpu_count() if threads is None else threads
    return Report(cases=(*_roles(bundle, threads), *_finished(bundle, threads)))


def _roles(bundle: Bundle, threads: int) -> list[Case]:
    arrays = _arrays(bundle, DENOISE_GOLDENS)
    if not arrays:
        raise unusable(DENOISE_GOLDENS, "no array")
    low, high = bundle.manifest.pixels.range
    graph = bundle.path(bundle.manifest.graphs["denoise"]["fp32"].file)
    cases = []
    with open_session("onnx", graph, device="cpu", threads=threads) as session:
        for name in dict.fromkeys(key.partition(".")[0] for key in arrays):
            state, t, pred = (_member(arrays, DENOISE_GOLDENS, f"{name}.{part}") for part in ("state", "t", "pred"))
            found = session.run({"state": state, "t": t})["pred"]
            shape = "x".join(map(str, state.shape))
            cases.append(compare("denoise", shape, found, pred, peak=high - low, tolerance=FORWARD))
    return cases


def _finished(bundle: Bundle, threads: int) -> list[Case]:
    arrays = _arrays(bundle, IMAGE_GOLDEN)
    image, hq, name, share = (_member(arrays, IMAGE_GOLDEN, key) for key in ("image", "hq", "schedule", "changed"))
    changed = float(share)
    if not (math.isfinite(changed) and 0 <= changed <= MOST_CHANGED):
        raise unusable(IMAGE_GOLDEN, f"changed {changed}, which must be 0 to {MOST_CHANGED}")
    if str(name) not in bundle.manifest.schedules:
        raise unusable(IMAGE_GOLDEN, f"the schedule {str(name)[:80]!r}, which the bundle has not")
    noise: dict[str, NDArray[Any]] = {
        key: _member(arrays, IMAGE_GOLDEN, key) for key in ("start", "step") if key in arrays
    }
    with Restorer.open(bundle, threads=threads) as restorer:
        found = restorer.restore(image, schedule=str(name), noise=noise or None, tile=1 << 16, overlap=0)
    case = f"{image.shape[0]}x{image.shape[1]}, {name}"
    ours, reference = (np.moveaxis(array, -1, 0) for array in (found, hq))
    tolerance = msgspec.structs.replace(FINISHED, changed=changed)  # as this network's sensitivity demands
    return [compare("image", case, ours, reference, peak=255, tolerance=tolerance)]


def _member(arrays: dict[str, NDArray[Any]], file: str, key: str) -> NDArray[Any]:
    """An array by name, of the kind and axes that it must have."""
    if key not in arrays:
        raise unusable(file, f"no array {key[:80]!r}")
    array = arrays[key]
    kind, axes = ARRAYS[key.rpartition(".")[2]]
    if not np.issubdtype(array.dtype, kind) or array.ndim != axes:
        raise unusable(file, f"{key[:80]!r} of {array.dtype.str} with {array.ndim} axes")
    return array


def _arrays(bundle: Bundle, file: str) -> dict[str, NDArray[Any]]:
    """The named arrays of an npz that the manifest lists."""
    if file not in bundle.manifest.files:
        raise unusable(file, "no such file in the bundle")
    return read_golden(bundle.path(file), file)
