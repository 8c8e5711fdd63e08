"""TensorRT-RTX engines of an OSEDiff bundle, built through the command line, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from measuring.report import BENCHMARKS

from contenders.engine_cases import TARGETS

__all__ = ["COLUMNS", "Engine", "build", "engine_row"]

COLUMNS = ("role", "profiles, pixels", "seconds", "peak RSS GB", "engine MB", "state", "layers that multiply")


class Engine(NamedTuple):
    """`record` is the cache's, as `lqhq engines list --json` has it; `failure` the command's last words."""

    role: str
    profiles: tuple[str, ...]
    peak: int = 0
    bytes: int = 0
    record: dict[str, Any] | None = None
    failure: str = ""


def build(bundle: Path, role: str, profiles: tuple[str, ...], cache: Path) -> Engine:
    """The engine of `role` in fp16 for `TARGETS`, in an empty `cache`."""
    peak = cache.with_suffix(".peak")
    command: list[str | Path] = [sys.executable, "-m", "measuring.command_line", peak, "engines", "build", bundle]
    command += ["--engine", "tensorrt-rtx", "--precision", "fp16", "--target", ",".join(TARGETS)]
    command += ["--role", role, "--cache", cache, *(word for one in profiles for word in ("--profile", one))]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    took = int(peak.read_text(encoding="ascii")) if peak.exists() else 0
    if done.returncode:
        return Engine(role, profiles, took, failure=f"exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    command = [sys.executable, "-m", "lqhq.tools.cli.main", "engines", "list", "--json", "--cache", cache]
    listed = json.loads(subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True).stdout)
    return Engine(role, profiles, took, listed[0]["bytes"], listed[0]["record"])


def engine_row(engine: Engine) -> tuple[object, ...]:
    """The row of `COLUMNS`; a build that failed says why in the place of its state."""
    head = (engine.role, ", ".join(engine.profiles))
    peak = f"{engine.peak / 1e9:.1f}" if engine.peak else "-"
    if engine.record is None:
        return (*head, "-", peak, "-", f"failed: {' '.join(engine.failure.split()).replace('|', '/')}", "-")
    layers = engine.record["parsed"]["layers"]
    counts = [f"{count} {kind} {dtype}" for kind, types in layers.items() for dtype, count in types.items() if count]
    seconds = f"{engine.record['seconds']:.0f}"
    return (*head, seconds, peak, f"{engine.bytes / 1e6:.0f}", engine.record["state"], ", ".join(counts))
