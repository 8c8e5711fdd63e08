"""Replays the reference arrays that a bundle carries on this machine: no checkpoint and no torch needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.bundle import Bundle
from lqhq.runtime.bundle_sessions import engine_profiles
from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.engines import open_session
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.errors import BundleError
from lqhq.runtime.golden_check import STREAMS, check_extras, check_shapes
from lqhq.runtime.golden_file import read_golden, unusable
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.manifest import Tensor
from lqhq.runtime.parity import FINISHED, FORWARD, MOST_CHANGED, MOST_FORWARD, Case, Report, Tolerance, compare
from lqhq.runtime.precision import EMULATED, HEADROOM_DB, LEAST_PSNR, Precision
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.session import Session

__all__ = ["BOUND", "IMAGE_GOLDEN", "compare_outputs", "replay", "role_golden"]

Arrays = Mapping[str, NDArray[Any]]

WHOLE = 1 << 16  # a tile that covers any image
BOUND = "bound"  # <case>.bound: what the outputs of the case may differ by, as `compare_outputs` takes it
IMAGE_GOLDEN = "goldens/image.npz"  # as in IMAGE_ARRAYS
# Kind and number of axes of every array. `changed` is the share of values that may differ; what a bundle does not
# need (a mask, a schedule, a stream of noise) is not there.
IMAGE_ARRAYS: dict[str, tuple[type[np.generic], int]] = {
    "image": (np.uint8, 3),
    "hq": (np.uint8, 3),
    "changed": (np.float64, 0),
    "mask": (np.uint8, 2),
    "schedule": (np.str_, 0),
    "start": (np.float32, 3),
    "step": (np.float32, 4),
    "prior": (np.float32, 1),
    "posterior": (np.float32, 3),
}


def role_golden(role: str) -> str:
    """The file of a role's goldens: `<case>.<input or output>` for each of its tensors, and `<case>.bound`."""
    return f"goldens/{role}.npz"


def replay(
    bundle: Bundle,
    *,
    precision: Precision = "fp32",
    engine: str = "onnx",
    device: str | None = None,
    threads: int | None = None,
    profiles: Sequence[Profile] = (),
    cache: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Run every golden of `bundle` on an engine and compare with what PyTorch gave at export, in float32.

    In half precisions the bound is what export found, less `HEADROOM_DB`, and for the finished image what export asked
    for. Raises `BundleError` when the bundle carries no goldens or they are not what export writes, `EngineError` when
    a graph does not run, `OptionError` for a precision, an engine, a device or a number of threads that cannot be.
    """
    options: dict[str, Any] = {"device": device, "threads": threads, "cache": cache, "say": say}
    cases: list[Case] = []
    for role in bundle.manifest.graphs:
        setup = Setup(profiles=engine_profiles(bundle.manifest, role, engine, profiles), **options)
        graph = bundle.graph(role, precision)
        with open_session(engine, graph, setup) as session:
            cases += _role(bundle, graph, session)
    with Restorer.open(bundle.bare(), engine=engine, precision=precision, profiles=profiles, **options) as restorer:
        cases += _finished(restorer, precision)
    how = EMULATED if precision != "fp32" and engine == "onnx" and device in (None, "cpu") else ""
    return Report(precision=precision, how=how, cases=tuple(cases))


def compare_outputs(
    role: str,
    outputs: Mapping[str, Tensor],
    batch: str,
    found: Arrays,
    wanted: Arrays,
    *,
    peak: float,
    tolerance: Tolerance,
) -> Iterator[Case]:
    """One case per output of one call; `batch` names the call, `peak` is the width of the pixel range."""
    for name, tensor in outputs.items():
        # A vector has no range that is known beforehand: its PSNR is over the reference's own.
        width = peak if len(tensor.shape) == 4 else float(np.abs(wanted[name]).max(initial=0.0)) or 1.0
        case = batch if len(outputs) == 1 else f"{batch}, {name}"
        yield compare(role, case, found[name], wanted[name], peak=width, tolerance=tolerance)


def _role(bundle: Bundle, graph: GraphFile, session: Session) -> list[Case]:
    file = role_golden(graph.role)
    arrays = _arrays(bundle, file)
    if not arrays:
        raise unusable(file, "no array")
    low, high = bundle.manifest.pixels.range
    tensors = (graph.graph.inputs, graph.graph.outputs)
    cases: list[Case] = []
    for name in dict.fromkeys(key.partition(".")[0] for key in arrays):
        feed, wanted = (
            {
                key: _member(arrays, file, f"{name}.{key}", np.dtype(tensor.dtype).type, len(tensor.shape))
                for key, tensor in declared.items()
            }
            for declared in tensors
        )
        check_shapes(file, name, feed | wanted, {**tensors[0], **tensors[1]})
        bound = float(_member(arrays, file, f"{name}.{BOUND}", np.float64, 0))
        if not FORWARD.max_abs <= bound <= MOST_FORWARD:
            raise unusable(file, f"a bound of {bound}, which must be {FORWARD.max_abs} to {MOST_FORWARD}")
        tolerance = msgspec.structs.replace(FORWARD, max_abs=bound)
        if graph.precision != "fp32":
            tolerance = Tolerance(least_psnr=_measured(graph) - HEADROOM_DB)
        batch = "x".join(map(str, next(iter(feed.values())).shape))
        found = session.run(feed)
        cases += compare_outputs(graph.role, tensors[1], batch, found, wanted, peak=high - low, tolerance=tolerance)
    return cases


def _measured(graph: GraphFile) -> float:
    if graph.graph.plan is None or graph.graph.plan.psnr is None:
        raise BundleError(
            f"graphs.{graph.role}.{graph.precision}.plan",
            found="no record of how near the graph came at export",
            expected="plan.psnr, as export writes it",
            mend="Export the checkpoint again with this release.",
        )
    return graph.graph.plan.psnr


def _finished(restorer: Restorer, precision: Precision) -> list[Case]:
    bundle = restorer.bundle
    arrays = _arrays(bundle, IMAGE_GOLDEN)
    found = {
        key: _member(arrays, IMAGE_GOLDEN, key, *IMAGE_ARRAYS[key])
        for key in IMAGE_ARRAYS
        if key in ("image", "hq", "changed") or key in arrays
    }
    changed = float(found["changed"])
    if not (math.isfinite(changed) and 0 <= changed <= MOST_CHANGED):
        raise unusable(IMAGE_GOLDEN, f"changed {changed}, which must be 0 to {MOST_CHANGED}")
    noise = {key: found[key] for key in STREAMS if key in found}
    image, hq, schedule = found["image"], found["hq"], _schedule(bundle, found)
    check_extras(IMAGE_GOLDEN, bundle.manifest, found, schedule)
    ours = restorer.restore(
        image, mask=found.get("mask"), schedule=schedule, noise=noise or None, tile=WHOLE, overlap=0
    )
    case = ", ".join(filter(None, (f"{image.shape[0]}x{image.shape[1]}", schedule)))
    tolerance = msgspec.structs.replace(FINISHED, changed=changed)  # as this network's sensitivity demands
    if precision != "fp32":
        asked = [one.tolerance for one in bundle.manifest.parity if (one.what, one.precision) == ("image", precision)]
        tolerance = Tolerance(least_psnr=min(asked, default=LEAST_PSNR[precision]))
    planes = (np.moveaxis(array, -1, 0) for array in (ours, hq))
    return [compare("image", case, *planes, peak=255, tolerance=tolerance)]


def _schedule(bundle: Bundle, found: Arrays) -> str | None:
    """The stored schedule's name; None in a bundle without schedules."""
    schedules = bundle.manifest.schedules
    if not schedules and "schedule" not in found:
        return None
    if "schedule" not in found:
        raise unusable(IMAGE_GOLDEN, "no array 'schedule'")
    name = str(found["schedule"])
    if name not in schedules:
        raise unusable(IMAGE_GOLDEN, f"the schedule {name[:80]!r}, which the bundle has not")
    return name


def _member(arrays: Mapping[str, NDArray[Any]], file: str, key: str, kind: type[np.generic], axes: int) -> NDArray[Any]:
    """An array by name, of the kind and axes that it must have."""
    if key not in arrays:
        raise unusable(file, f"no array {key[:80]!r}")
    array = arrays[key]
    if not np.issubdtype(array.dtype, kind) or array.ndim != axes:
        raise unusable(file, f"{key[:80]!r} of {array.dtype.str} with {array.ndim} axes")
    return array


def _arrays(bundle: Bundle, file: str) -> dict[str, NDArray[Any]]:
    """The named arrays of an npz that the manifest lists."""
    if file not in bundle.manifest.files:
        raise unusable(file, "no such file in the bundle")
    return read_golden(bundle.path(file), file)
