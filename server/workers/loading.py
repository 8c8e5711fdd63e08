"""Opens a bundle in a worker: the bundle that was meant, checked on this machine where that is asked for."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.bundle_sessions import open_sessions
from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.errors import BundleError, EngineError
from lqhq.runtime.manifest import manifest_from_json
from lqhq.runtime.parity import Report
from lqhq.runtime.selfcheck import replay
from lqhq.runtime.session import Session
from lqhq.server.workers.opening import MOST_LINES, MOST_WIDTH, Checked, Opened, Opening

__all__ = ["LoadedModel", "open_model"]

MANIFEST = "manifest.json"
MODULES = {"onnx": "onnxruntime", "tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


class LoadedModel(NamedTuple):
    """Sessions by role, and what is said of them."""

    sessions: Mapping[str, Session]
    opened: Opened


def open_model(opening: Opening) -> LoadedModel:
    """Open `opening.path`. Raises as `open_bundle`, `replay` and `open_sessions` do.

    `BundleError` also for a bundle of another manifest, `EngineError` also where the check fails.
    """
    began = time.perf_counter()
    bundle = open_bundle(opening.path)
    _require_same(bundle, opening)
    first = bundle.graph(next(iter(bundle.manifest.graphs)), opening.precision)
    checked = _checked(bundle, opening) if opening.check else None
    sessions = open_sessions(bundle, opening.engine, opening.precision, _setup(opening))
    opened = Opened(
        shapes=EngineShapes.of(sessions, bundle.manifest),
        engine_version=str(getattr(sys.modules.get(MODULES[opening.engine]), "__version__", "")),
        precision=first.precision,
        device=opening.device,
        seconds=time.perf_counter() - began,
        checked=checked,
    )
    return LoadedModel(sessions, opened)


def _require_same(bundle: Bundle, opening: Opening) -> None:
    """Raise `BundleError` where the folder holds, or held when it was opened, another manifest than was meant."""
    data = (bundle.folder / MANIFEST).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != opening.sha256 or manifest_from_json(data) != bundle.manifest:
        raise BundleError(
            opening.path,
            found=f"a manifest with the digest {found[:12]}",
            expected=f"the one that was to be loaded, {opening.sha256[:12]}",
            mend="The bundle was replaced meanwhile; load the model again.",
        )


def _setup(opening: Opening) -> Setup:
    cache = None if opening.cache is None else Path(opening.cache)
    return Setup(
        device=opening.device or None,
        threads=opening.threads,
        profiles=opening.profiles,
        cache=cache,
        say=_say,
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _checked(bundle: Bundle, opening: Opening) -> Checked:
    setup, began = _setup(opening), time.perf_counter()
    report = replay(
        bundle,
        precision=bundle.graph(next(iter(bundle.manifest.graphs)), opening.precision).precision,
        engine=opening.engine,
        device=setup.device,
        threads=setup.threads,
        profiles=setup.profiles,
        cache=setup.cache,
        say=_say,
    )
    if not report.passed:
        raise EngineError(
            opening.path,
            found=_worst(report),
            expected="the goldens of the bundle, within their bounds",
            mend="`lqhq parity` shows all cases; get the bundle again, or try another engine or precision.",
        )
    lines = tuple(line[:MOST_WIDTH] for line in report.table().splitlines())
    return Checked(
        cases=len(report.cases),
        passed=True,
        seconds=time.perf_counter() - began,
        lines=lines if len(lines) <= MOST_LINES else (*lines[: MOST_LINES - 1], lines[-1]),
    )


def _worst(report: Report) -> str:
    """The failing case that is farthest off, in one line."""
    failed = [case for case in report.cases if not case.passed]
    if not failed:
        return "no case to check"
    worst = max(failed, key=lambda case: case.measure.max_abs / case.tolerance if case.unit == "abs" else 0.0)
    return f"{worst.what}, {worst.case}: off by {worst.measure.max_abs:.2e}, {len(failed)} of {len(report.cases)} fail"
