"""TensorRT-RTX engines of networks at full size, built without a GPU: time, memory, size, and types against the plan.

    python benchmarks/rtx_builds.py [--quick] [-o FILE]

The weights are random: what is built is exact, what the engines would restore means nothing. No engine is run here.
It takes 12 GB of memory, 4 GB in the folder for temporary files, and the extras export and rtx.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec
from contenders.built_case import BUILT, BuiltCase
from contenders.engine_cases import CASES, QUICK, TARGETS, EngineCase
from contenders.traced_case import TRACED, TracedCase
from measuring.report import BENCHMARKS, Page, arguments

from lqhq.runtime.precision import Float, Kind, Plan

BAR = 16e9  # bytes: what a builder's process may take
LISTED = "read from the builder's list: "  # how the note about the engine's own layers begins
BUILDS = ("network", "profiles HxW@N", "seconds", "peak RSS GB", "ONNX MB", "engine MB", "state", "against the plan")
EXPORTS = ("network", "parameters M", "seconds", "peak RSS GB", "float32 islands")


class Measured(NamedTuple):
    case: EngineCase
    traced: TracedCase
    built: BuiltCase

    @property
    def name(self) -> str:
        return f"{self.case.title}, {self.case.precision}"


def measure(name: str, case: EngineCase, folder: Path) -> Measured:
    """Export and build in processes of their own. Raises `SystemExit` with the words of an export that failed."""
    if words := _child("contenders.traced_case", name, folder):
        raise SystemExit(f"{name}: export failed: {words}")
    traced = msgspec.json.decode((folder / TRACED).read_bytes(), type=TracedCase)
    words = _child("contenders.built_case", name, folder)
    built = BuiltCase(failure=words) if words else msgspec.json.decode((folder / BUILT).read_bytes(), type=BuiltCase)
    return Measured(case, traced, built)


def _child(module: str, name: str, folder: Path) -> str:
    """Empty where all went well, or the exit code and the last words; -9 is what the kernel kills for memory."""
    command = [sys.executable, "-m", module, name, str(folder)]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    return f"exit code {done.returncode}: {done.stderr.strip()[-300:]}" if done.returncode else ""


def against(plan: Plan, parsed: Plan) -> str:
    """What the parsed network has otherwise than the plan: layers by kind and type, bytes of weights by type."""
    found = []
    for kind in get_args(Kind):
        for dtype in get_args(Float):
            planned, there = (each.layers.get(kind, {}).get(dtype, 0) for each in (plan, parsed))
            if planned != there:
                found.append(f"{there} {kind} {dtype} for {planned}")
    apart = {dtype: parsed.weights.get(dtype, 0) - plan.weights.get(dtype, 0) for dtype in get_args(Float)}
    found += [f"{bytes_:+d} bytes of {dtype} weights" for dtype, bytes_ in apart.items() if bytes_]
    return "; ".join(found) or "equal"


def build_row(measured: Measured) -> tuple[object, ...]:
    """The row of `BUILDS`; a build that failed says why in the place of its state."""
    case, traced, built = measured
    head = (measured.name, ", ".join(case.profiles))
    if built.failure or built.parsed is None or traced.graph.plan is None:
        why = " ".join(built.failure.split()).replace("|", "/")
        return (*head, "-", f"{built.peak / 1e9:.1f}", f"{traced.file_bytes / 1e6:.0f}", "-", f"failed: {why}", "-")
    return (
        *head,
        f"{built.seconds:.0f}",
        f"{built.peak / 1e9:.1f}",
        f"{traced.file_bytes / 1e6:.0f}",
        f"{built.engine_bytes / 1e6:.0f}",
        built.state,
        against(traced.graph.plan, built.parsed),
    )


def histogram(measured: Sequence[Measured]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Columns and rows: layers of the parsed network by kind and type, and megabytes of its weights by type."""
    plans = {each.name: each.built.parsed for each in measured if each.built.parsed is not None}
    pairs = sorted({(kind, dtype) for plan in plans.values() for kind in plan.layers for dtype in plan.layers[kind]})
    types = [dtype for dtype in get_args(Float) if any(dtype in plan.weights for plan in plans.values())]
    columns = ("network", *(" ".join(pair) for pair in pairs), *(f"{dtype} weights MB" for dtype in types))
    rows: list[tuple[object, ...]] = []
    for name, plan in plans.items():
        counts = (plan.layers.get(kind, {}).get(dtype, 0) for kind, dtype in pairs)
        rows.append((name, *counts, *(f"{plan.weights.get(dtype, 0) / 1e6:.3f}" for dtype in types)))
    return columns, rows


def listed(measured: Measured) -> tuple[object, ...]:
    """The engine's own layers, after fusion, and the builder's warnings."""
    notes = measured.built.notes
    layers = next((note.removeprefix(LISTED) for note in notes if note.startswith(LISTED)), "not read")
    warnings = [note.removeprefix("warning: ") for note in notes if note.startswith("warning: ")]
    return measured.name, layers, "; ".join(warnings).replace("|", "/") or "none"


def export_row(measured: Measured) -> tuple[object, ...]:
    """The row of `EXPORTS`."""
    traced = measured.traced
    islands = traced.graph.plan.islands if traced.graph.plan else ()
    whole = traced.precision == "fp32" or "" in islands
    return (
        measured.name,
        f"{traced.parameters / 1e6:.2f}",
        f"{traced.seconds:.0f}",
        f"{traced.peak / 1e9:.1f}",
        "the whole" if whole else len(islands),
    )


def verdict(measured: Sequence[Measured]) -> str:
    """Whether the bar is met, in words."""
    failed = [each.name for each in measured if each.built.failure]
    most = max(measured, key=lambda each: each.built.peak)
    met = "not met" if failed or most.built.peak > BAR else "met"
    said = f"The largest peak is {most.built.peak / 1e9:.1f} GB ({most.name})"
    return f"{said}; the bar is that all build within {BAR / 1e9:.0f} GB: {met}." + (
        f" Failed: {'; '.join(failed)}." if failed else ""
    )


def write(page: Page, measured: Sequence[Measured]) -> None:
    """All tables."""
    page.table("Builds", BUILDS, [build_row(each) for each in measured])
    page.text(verdict(measured))
    page.table("The parsed network: layers that multiply, by kind and type, and weights", *histogram(measured))
    page.table("The engine's own layers", ("network", "layers", "warnings"), [listed(each) for each in measured])
    page.table("Export", EXPORTS, [export_row(each) for each in measured])


def main() -> None:
    """Export and build every case, and write the page."""
    args = arguments(__doc__, "rtx_builds").parse_args()
    weights = "random: they prove that such engines build and of what types they are, never quality"
    packages = ("tensorrt-rtx-cu13", "torch", "diffusers")
    page = Page("TensorRT-RTX engines without a GPU", weights=weights, packages=packages)
    page.text(
        f"Each engine is for {', '.join(TARGETS)} in one file. It was built on the CPU above, on a machine without a "
        "GPU: **no engine of this page was opened or run**, and nothing here is a speed on a GPU. Export and build "
        "have a process each; peak RSS is the kernel's VmHWM of the process, libraries and mapped files included. "
        "Seconds of a build are those of parsing and building, of an export those of tracing and checking, both beside "
        "other work on the same cores. Sides of profiles are those of the graph's image: pixels for DiffIR, latents of "
        "8 pixels for SD. The state is what the build reports: verified means that types and weights of the parsed "
        "network are those of the plan, and that the types of the weights in the builder's own list of layers are, "
        "too. Parsers fold or add constants of a few bytes, which is granted."
    )
    cases: Mapping[str, EngineCase] = QUICK if args.quick else CASES
    measured = []
    for name, case in cases.items():
        with tempfile.TemporaryDirectory() as folder:  # each leaves up to 4 GB
            measured.append(measure(name, case, Path(folder)))
    write(page, measured)
    page.write(args.output)
    if any(each.built.failure for each in measured):
        raise SystemExit("a build failed: see the page")


if __name__ == "__main__":
    main()
