"""DiffIR at its released sizes: export, parity and speed against PyTorch eager, and where the time goes.

    python benchmarks/diffir_full.py [--quick] [-o FILE]

The weights are random, in the official format: speed and arithmetic mean something, the images nothing.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contenders.diffir_graphs import diffir_feed
from contenders.diffir_weights import DEBLUR, SEED, SHALLOW, TINY, X4, Described, network, write_checkpoint
from measuring.contest import Contender, Outcome, hold_contest, ratio
from measuring.layer_kinds import layer_kinds
from measuring.report import BENCHMARKS, Page, arguments

from lqhq.export.families.diffir.graphs import graphs
from lqhq.export.trace import trace
from lqhq.runtime.machine import cpu_count

CLOSE = 1e-4  # largest difference to the plain network's image, in [0, 1]
SANE = (-1.0, 2.0)  # images of random weights beyond it would hide a wrong small part behind a large one
COLUMNS = ("contender", "median s", "its time / lqhq's, with interval", "peak RSS MB", "max abs to eager", "ran as")


class Case(NamedTuple):
    """A network, the side of the square image that it restores, and how often."""

    name: str
    described: Described
    side: int
    rounds: int


class Exported(NamedTuple):
    bundle: Path
    seconds: float
    peak: int


def cases(quick: bool) -> list[Case]:
    """A run at 512x512 takes most of a minute for both contenders, hence few rounds."""
    if quick:
        return [Case("x4, tiny", TINY, 32, 2)]
    return [Case("x4, LR 128x128", X4, 128, 9), Case("deblurring, 512x512", DEBLUR, 512, 5)]


def export(checkpoint: Path, folder: Path) -> Exported:
    """By the command `lqhq export`, in a process of its own. Raises `SystemExit` with its words when it fails."""
    bundle, peak = folder / f"{checkpoint.stem}-bundle", folder / f"{checkpoint.stem}-peak"
    command: list[str | Path] = [sys.executable, "-m", "measuring.command_line", peak, "export", "diffir", checkpoint]
    start = time.perf_counter()
    done = subprocess.run([*command, "-o", bundle], cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"lqhq export: exit code {done.returncode}: {done.stderr.strip()}")
    return Exported(bundle, seconds, int(peak.read_text(encoding="ascii")))


def contest(case: Case, checkpoint: Path, bundle: Path, threads: int) -> list[Outcome]:
    """lqhq first."""
    given = {"side": case.side, "threads": threads}
    sides = BENCHMARKS / "contenders"
    environment = {"OMP_NUM_THREADS": str(threads)}
    return hold_contest(
        [
            Contender(
                name="lqhq, ONNX Runtime",
                file=sides / "diffir_graphs.py",
                function="graphs",
                options={"bundle": str(bundle), **given},
                environment=environment,
            ),
            Contender(
                name="PyTorch eager",
                file=sides / "diffir_eager.py",
                function="eager",
                options={"checkpoint": str(checkpoint), **given},
                environment=environment,
            ),
        ],
        rounds=case.rounds,
        warm_ups=1,
        answers=True,
    )


def rows(case: Case, outcomes: list[Outcome]) -> list[tuple[object, ...]]:
    """Table rows. Raises `SystemExit` where one failed, the images differ, or say nothing."""
    for outcome in outcomes:
        if outcome.failure or outcome.answer is None:
            raise SystemExit(f"{case.name}: {outcome.name} failed: {outcome.failure}")
    ours, plain = (np.asarray(outcome.answer, np.float64) for outcome in outcomes)
    apart = float(np.abs(ours - plain).max())
    if not apart <= CLOSE:
        raise SystemExit(f"{case.name}: lqhq is {apart} from PyTorch eager; expected {CLOSE} or less")
    if not SANE[0] <= plain.min() <= plain.max() <= SANE[1]:
        raise SystemExit(f"{case.name}: values from {plain.min()} to {plain.max()}; expected them within {SANE}")
    return [
        (
            outcome.name,
            f"{outcome.median:.2f}",
            "1" if outcome is outcomes[0] else str(ratio(outcome, outcomes[0])),
            f"{outcome.peak / 1e6:.0f}",
            f"{apart:.1e}" if outcome is outcomes[0] else "-",
            outcome.note,
        )
        for outcome in outcomes
    ]


def kinds(described: Described, side: int, threads: int, folder: Path) -> list[tuple[object, ...]]:
    """Milliseconds and shares by kind of layer, of `decode` traced as it is written and as it is deployed."""
    decode = graphs(network(described), 8 * described.shape.fold)[2]
    feed = {"lq": diffir_feed(side)["lq"], "cond": diffir_feed(side)["noise"]}
    found: list[Counter[str]] = []
    for name, module in (("plain", decode.plain), ("deployed", decode.module)):
        file = folder / f"{name}.onnx"
        trace(dataclasses.replace(decode, module=module), file)
        found.append(layer_kinds(file, feed, threads, folder))
    plain, deployed = found
    names = sorted(plain | deployed, key=lambda kind: -plain[kind])
    table = [
        (kind, *(f"{kinds[kind] * 1e3:.0f} ({kinds[kind] / kinds.total():.0%})" for kinds in found)) for kind in names
    ]
    return [*table, ("all", f"{plain.total() * 1e3:.0f}", f"{deployed.total() * 1e3:.0f}")]


def main() -> None:
    """Export and race every case, profile, and write the page."""
    args, threads = arguments(__doc__, "diffir_full").parse_args(), cpu_count()
    weights = f"random (seed {SEED}), so only speed and arithmetic mean anything"
    page = Page("DiffIR at full size", weights=weights, packages=("onnxruntime", "torch", "numpy"))
    page.text(
        f"fp32, {threads} threads each, every contender in its own process, turns interleaved, one warm-up; untiled, "
        "the whole network (condition, prior, restoration). A ratio above 1 means that lqhq is faster; the interval "
        "covers the median ratio with at least 95 % (below six rounds it is the range). PyTorch runs our plain "
        "network in inference mode, in the memory layout that was faster in a trial. Export is all of `lqhq export "
        "diffir`: tracing, goldens, parity."
    )
    exports: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, case in enumerate(cases(args.quick)):
            checkpoint = write_checkpoint(case.described, folder / f"{index}.pth")
            made = export(checkpoint, folder)
            size = sum(file.stat().st_size for file in made.bundle.rglob("*") if file.is_file())
            exports.append((case.name, f"{made.seconds:.0f}", f"{made.peak / 1e6:.0f}", f"{size / 1e6:.0f}"))
            page.table(case.name, COLUMNS, rows(case, contest(case, checkpoint, made.bundle, threads)))
        page.table("Export", ("network", "seconds", "peak RSS MB", "bundle MB"), exports)
        shown, side = (TINY, 32) if args.quick else (SHALLOW, 128)
        title = f"Where the time of `decode` goes, x4 widths, blocks {shown.shape.blocks} + {shown.shape.refinement}"
        columns = ("kind of layer", "plain network's graph, ms", "deployed graph, ms")
        page.table(title, columns, kinds(shown, side, threads, folder))
    page.write(args.output)


if __name__ == "__main__":
    main()
