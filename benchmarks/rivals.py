"""The demo network and a 3 M U-Net: lqhq (ONNX Runtime) against PyTorch eager and `torch.compile`, CPU, fp32.

    python benchmarks/rivals.py [--quick] [--bundle B] [-o FILE]

Outputs must agree before times are compared: speed is of the same function.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from contenders.plain_unet import SEED, plain_unet
from measuring.contest import Contender, Outcome, hold_contest, ratio
from measuring.report import BENCHMARKS, Page, arguments, weights_line

from lqhq.export.families.indi.recipe import recipe
from lqhq.export.family import Network
from lqhq.export.settings import Sampling, Settings
from lqhq.export.trace import trace
from lqhq.runtime import open_bundle
from lqhq.runtime.machine import cpu_count

CLOSE = {"network": 1e-3, "image": 1}  # in [-1, 1] for networks; a rounding apart, in levels, for uint8 images
COLUMNS = ("contender", "median s", "its time / lqhq's, with interval", "peak RSS MB", "max abs to lqhq", "ran as")


class Race(NamedTuple):
    """One table: what is run, and what lqhq's and PyTorch's loaders are given besides threads."""

    title: str
    kind: str
    ours: tuple[str, Mapping[str, Any]]
    theirs: tuple[str, Mapping[str, Any]]
    rounds: int


def races(bundle: str, unet: Path, quick: bool) -> list[Race]:
    """All tables. Whole images get the most rounds: what they differ by is near the noise of one."""
    opened = open_bundle(bundle)
    demo = str(opened.path(opened.manifest.graphs["denoise"]["fp32"].file))
    side, canvas, sides = (64, 128, (64,)) if quick else (512, 512, (128, 256))
    rounds, many = (2, 2) if quick else (17, 13)
    image = {"bundle": bundle, "side": side}
    found = [
        Race(
            f"Whole image {side}x{side} to {4 * side}x{4 * side}, demo",
            "image",
            ("restore", image),
            ("restore", image),
            rounds,
        )
    ]
    nets = [("Demo network", demo, demo, canvas)] + [("U-Net", str(unet), "unet", size) for size in sides]
    for name, graph, module, size in nets:
        shape = {"shape": [size, size]}
        title = f"{name}, {size}x{size} canvas, one call"
        found.append(
            Race(title, "network", ("graph", {"path": graph, **shape}), ("network", {"name": module, **shape}), many)
        )
    return found


def contest(race: Race, threads: int) -> list[Outcome]:
    """lqhq first, then its rivals."""
    sides = BENCHMARKS / "contenders"
    environment = {"OMP_NUM_THREADS": str(threads)}

    def contender(name: str, file: str, what: tuple[str, Mapping[str, Any]], **more: Any) -> Contender:
        options = {**what[1], "threads": threads, **more}
        return Contender(name=name, file=sides / file, function=what[0], options=options, environment=environment)

    contenders = [
        contender("lqhq, ONNX Runtime", "lqhq_side.py", race.ours),
        contender("PyTorch eager", "torch_side.py", race.theirs, compiled=False),
        contender("torch.compile", "torch_side.py", race.theirs, compiled=True),
    ]
    if race.kind == "image":
        plain = contender("PyTorch eager, untiled", "torch_side.py", race.theirs, compiled=False, untiled=True)
        contenders.insert(1, plain)
    return hold_contest(contenders, rounds=race.rounds, answers=True)


def rows(race: Race, outcomes: list[Outcome]) -> list[tuple[object, ...]]:
    """Table rows. Raises `SystemExit` where lqhq failed, or a rival computed something else."""
    ours = outcomes[0]
    found: list[tuple[object, ...]] = []
    if ours.failure or ours.answer is None:
        raise SystemExit(f"{race.title}: {ours.name} failed: {ours.failure}")
    for outcome in outcomes:
        if outcome.failure or outcome.answer is None:
            found.append((outcome.name, "failed", "-", "-", "-", outcome.failure))
            continue
        apart = float(np.abs(outcome.answer.astype(np.float64) - ours.answer).max())
        if not apart <= CLOSE[race.kind]:
            raise SystemExit(f"{race.title}: {outcome.name} is {apart} from lqhq; expected {CLOSE[race.kind]} or less")
        against = "1" if outcome is ours else str(ratio(outcome, ours))
        found.append(
            (
                outcome.name,
                f"{outcome.median:.3f}",
                against,
                f"{outcome.peak / 1e6:.0f}",
                f"{apart:.1e}",
                outcome.note,
            )
        )
    return found


def main() -> None:
    """Run every race and write the page."""
    args, threads = arguments(__doc__, "rivals").parse_args(), cpu_count()
    weights = f"demo: {weights_line(args.bundle)}; U-Net: random (seed {SEED}), so only its speed means anything"
    page = Page("lqhq against PyTorch on the CPU", weights=weights, packages=("onnxruntime", "torch", "numpy"))
    page.text(
        f"fp32, {threads} threads each, every contender in its own process, turns interleaved, two warm-ups; "
        "import, loading and compiling are not timed. A ratio above 1 means that lqhq is faster; the interval "
        "covers the median ratio with at least 95 % (below six rounds, as with --quick, it is the range). "
        "PyTorch runs in inference mode and in the layout (and, for whole images, with or without lqhq's tiles; "
        "untiled is how one runs it at first) "
        "that was faster in a trial, `torch.compile` with frozen weights. "
        "Images are compared in 8-bit levels, networks in [-1, 1]."
    )
    with tempfile.TemporaryDirectory() as folder:
        unet = Path(folder) / "unet.onnx"
        # Only the multiple matters to the tracing; the rest are hints for tiles, which no bundle will carry.
        network = Network(module=plain_unet(), channels=3, multiple=4, smallest=8, preferred=512, overlap=64)
        settings = Settings(time_scale=1.0, schedules={"fast": Sampling(steps=1)})
        trace(recipe(network, settings).graphs[0], unet)
        for race in races(args.bundle, unet, args.quick):
            page.table(race.title, COLUMNS, rows(race, contest(race, threads)))
    page.write(args.output)


if __name__ == "__main__":
    main()
