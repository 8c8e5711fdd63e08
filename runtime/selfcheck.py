"""Replays the reference arrays that a bundle carries on this machine: no checkpoint and no torch needed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.bundle import Bundle
from lqhq.runtime.engines import open_session
from lqhq.runtime.errors import BundleError
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.parity import FINISHED, FORWARD, Case, Report, compare
from lqhq.runtime.restorer import Restorer

__all__ = ["DENOISE_GOLDENS", "IMAGE_GOLDEN", "replay"]

DENOISE_GOLDENS = "goldens/denoise.npz"  # <case>.state, <case>.t, <case>.pred
IMAGE_GOLDEN = "goldens/image.npz"  # image, hq, schedule, changed (share of values that may differ), start, step
MAX_ARRAYS = 256
MAX_GOLDEN_BYTES = 64 << 20  # unpacked; export writes a thousandth of that
READ_ERRORS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError)


def replay(bundle: Bundle, *, threads: int | None = None) -> Report:
    """Run every golden of `bundle` and compare with what PyTorch gave at export.

    Raises `BundleError` when the bundle carries none or they cannot be read, `EngineError` when a graph does
    not run.
    """
    return Report(cases=(*_roles(bundle, threads or cpu_count()), *_finished(bundle, threads)))


def _roles(bundle: Bundle, threads: int) -> list[Case]:
    arrays = _arrays(bundle, DENOISE_GOLDENS)
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


def _finished(bundle: Bundle, threads: int | None) -> list[Case]:
    arrays = _arrays(bundle, IMAGE_GOLDEN)
    image, hq, name, changed = (_member(arrays, IMAGE_GOLDEN, key) for key in ("image", "hq", "schedule", "changed"))
    noise: dict[str, NDArray[Any]] = {key: arrays[key] for key in ("start", "step") if key in arrays}
    with Restorer.open(bundle, threads=threads) as restorer:
        found = restorer.restore(image, schedule=str(name), noise=noise or None, tile=1 << 16, overlap=0)
    case = f"{image.shape[0]}x{image.shape[1]}, {name}"
    ours, reference = (np.moveaxis(array, -1, 0) for array in (found, hq))
    tolerance = msgspec.structs.replace(FINISHED, changed=float(changed))  # as this network's sensitivity demands
    return [compare("image", case, ours, reference, peak=255, tolerance=tolerance)]


def _member(arrays: dict[str, NDArray[Any]], file: str, key: str) -> NDArray[Any]:
    if key not in arrays:
        raise _unusable(file, f"no array {key}")
    return arrays[key]


def _arrays(bundle: Bundle, file: str) -> dict[str, NDArray[Any]]:
    """The named arrays of an npz that the manifest lists, within limits and without pickles."""
    if file not in bundle.manifest.files:
        raise _unusable(file, "no such file in the bundle")
    path: Path = bundle.path(file)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        if len(entries) > MAX_ARRAYS or sum(entry.file_size for entry in entries) > MAX_GOLDEN_BYTES:
            raise _unusable(file, f"{len(entries)} arrays of {sum(e.file_size for e in entries)} bytes")
        with np.load(path, allow_pickle=False) as members:
            return {name: members[name] for name in members.files}
    except READ_ERRORS as error:
        raise _unusable(file, str(error)) from error


def _unusable(file: str, found: str) -> BundleError:
    return BundleError(
        file,
        found=found,
        expected="the reference arrays that `lqhq export` writes",
        mend="Give --checkpoint to compare with the network itself, or export the checkpoint again.",
    )
