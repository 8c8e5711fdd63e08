"""ONNX Runtime's CPU settings on the demo network, each against what lqhq sets: time ratio and peak memory.

    python benchmarks/session_options.py [--quick] [--bundle B] [-o FILE]

Two tables: one canvas over and over, and canvases of six sizes in turn, as a folder of photos gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from measuring.contest import Contender, Outcome, hold_contest, ratio
from measuring.interval import LEVEL
from measuring.report import BENCHMARKS, Page, arguments, weights_line

from lqhq.runtime import open_bundle
from lqhq.runtime.machine import cpu_count

COLUMNS = ("setting changed", "median s", "its time / present, with interval", "peak RSS MB", "peak / present")
PRESENT = "none: as lqhq sets them"
MEMORY: Mapping[str, Mapping[str, Any]] = {
    "arena off": {"arena": False},
    "memory pattern on": {"pattern": True},
    "arena off, memory pattern on": {"arena": False, "pattern": True},
}
SPINNING = "session.intra_op.allow_spinning"
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "threads 1": {"threads": 1},
    "threads 2": {"threads": 2},
    "threads 4": {"threads": 4},
    "spinning off": {"entries": {SPINNING: "0"}},
    "graph optimisation disabled": {"level": "disable"},
    "graph optimisation basic": {"level": "basic"},
    "graph optimisation extended": {"level": "extended"},
}
SIDES = ((512, 512), (768, 512), (512, 640), (896, 672), (640, 1024), (1024, 768))
CLEAR = 0.05  # of time; less is within what two runs of the same setting differ by here
LESS_MEMORY = 0.8  # of the peak: a fifth less is worth a little time


def contest(
    graph: str, shapes: Sequence[Sequence[int]], settings: Mapping[str, Mapping[str, Any]], rounds: int
) -> list[Outcome]:
    """The present settings first."""
    file = BENCHMARKS / "contenders" / "session_settings.py"
    options = {"path": graph, "shapes": shapes, "threads": cpu_count()}
    contenders = [Contender(name=PRESENT, file=file, function="current", options=options)]
    for name, changed in settings.items():
        contenders.append(Contender(name=name, file=file, function="varied", options={**options, **changed}))
    return hold_contest(contenders, rounds=rounds)


def rows(outcomes: Sequence[Outcome]) -> list[tuple[object, ...]]:
    """Table rows; a setting that this ONNX Runtime refuses says so."""
    present = outcomes[0]
    found: list[tuple[object, ...]] = []
    if present.failure:
        raise SystemExit(f"the present settings failed: {present.failure}")
    for outcome in outcomes:
        if outcome.failure:
            found.append((outcome.name, "failed", outcome.failure, "-", "-"))
            continue
        against = "1" if outcome is present else str(ratio(outcome, present))
        memory = f"{outcome.peak / present.peak:.2f}"
        found.append((outcome.name, f"{outcome.median:.3f}", against, f"{outcome.peak / 1e6:.0f}", memory))
    return found


def verdict(outcomes: Sequence[Outcome]) -> str:
    """What the numbers support: a setting must be clearly faster, or clearly leaner and not clearly slower."""
    present, better = outcomes[0], []
    for outcome in outcomes[1:]:
        if outcome.failure:
            continue
        time = ratio(outcome, present)
        if time.coverage < LEVEL:
            return "nothing: too few rounds"
        if time.high < 1 - CLEAR:
            better.append(f"{outcome.name} is faster ({time})")
        elif outcome.peak < LESS_MEMORY * present.peak and time.median < 1 + CLEAR:
            memory = f"{outcome.peak / present.peak:.2f}"
            better.append(f"{outcome.name} takes {memory} of the memory at {time} of the time")
    return "; ".join(better) if better else "the present settings: no other is clearly faster or clearly leaner"


def main() -> None:
    """Hold both contests and write the page."""
    args = arguments(__doc__, "session_options").parse_args()
    opened = open_bundle(args.bundle)
    graph = str(opened.path(opened.manifest.graphs["denoise"]["fp32"].file))
    canvas, rounds = ((128, 128), 2) if args.quick else ((1024, 1024), 6)
    shapes = [(height // 4, width // 4) for height, width in SIDES] if args.quick else SIDES
    packages = ("onnxruntime", "numpy")
    page = Page("ONNX Runtime's CPU settings", weights=weights_line(args.bundle), packages=packages)
    page.text(
        f"Present settings: {cpu_count()} threads, all graph optimisations (with layouts), arena and spinning on, "
        "memory pattern off. One process per setting, turns interleaved, two warm-ups. Above 1: slower, or more "
        "memory, than now. The row with the same thread count as the present settings shows the noise."
    )
    single = contest(graph, [canvas], {**OTHERS, **MEMORY}, rounds)
    page.table(f"One canvas of {canvas[0]}x{canvas[1]}", COLUMNS, rows(single))
    several = contest(graph, shapes, MEMORY, rounds)
    page.table("Canvases of six sizes in turn", COLUMNS, rows(several))
    page.text(f"The numbers support, one canvas: {verdict(single)}.\n\nSix sizes: {verdict(several)}.")
    page.write(args.output)


if __name__ == "__main__":
    main()
