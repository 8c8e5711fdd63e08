"""LQ-DDPM's synthesis against PyTorch eager, at 256x256: time per image, the sampler's own share, the same pixels.

    python benchmarks/synthesis.py [--quick] [-o FILE]

The weights are random, in the released format: speed and arithmetic mean something, the images nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from contenders.sd_networks import SEED
from contenders.synthesis_share import Times
from measuring.contest import Contender, Outcome, hold_contest, ratio
from measuring.interval import Interval, median_interval
from measuring.report import BENCHMARKS, Page, arguments

from lqhq.runtime.machine import cpu_count

FASTER, OWN = 1.0, 3.0  # bars: PyTorch's time for each of lqhq's, and per cent of lqhq's that are not the network's
APART = 1  # 8-bit levels: a value between two is rounded either way
CHANGED = 1e-2  # share of levels that may be so; more would be another rounding, not another order of sums
FLAT = 0.5  # share of levels at 0 or 255, where noise that random weights leave is cut off: there nothing is compared
COLUMNS = ("contender", "median s", "its time / lqhq's, with interval", "peak RSS MB", "levels that differ", "ran as")
SHARES = ("network", "calls", "rounds", "median s", "of it not the network's, ms", "share in %, with interval")
EXPORTS = ("network", "seconds", "peak RSS MB", "bundle MB")


class Case(NamedTuple):
    """`size` of the network, side of the image, calls of the network; rounds of the race and of the shares."""

    name: str
    size: str
    side: int
    steps: int
    rounds: int
    share_rounds: int


QUICK = (Case("tiny", "TINY", 32, 12, 2, 2),)
FULL = (
    Case("released size, 101 M parameters", "FULL", 256, 2, 7, 6),
    Case("small, without attention, 1.9 M parameters", "SMALL", 256, 12, 15, 15),
)


class Exported(NamedTuple):
    bundle: Path
    row: tuple[object, ...]


def child(*words: object) -> None:
    """Run a module of ours in a process of its own. Raises `SystemExit` with its last words where it fails."""
    command = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")


def export(case: Case, checkpoint: Path, folder: Path) -> Exported:
    """By the command `lqhq export`, with its defaults."""
    bundle, peak = folder / "bundle", folder / "peak"
    start = time.perf_counter()
    child("measuring.command_line", peak, "export", "lq-ddpm", checkpoint, "-o", bundle, "--name", "synthesis")
    seconds = time.perf_counter() - start
    size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    memory = int(peak.read_text(encoding="ascii"))
    return Exported(bundle, (case.name, f"{seconds:.0f}", f"{memory / 1e6:.0f}", f"{size / 1e6:.0f}"))


def contest(case: Case, checkpoint: Path, bundle: Path, threads: int) -> list[Outcome]:
    """lqhq first."""
    given = {"side": case.side, "steps": case.steps, "threads": threads}
    sides = BENCHMARKS / "contenders"
    environment = {"OMP_NUM_THREADS": str(threads)}
    return hold_contest(
        [
            Contender(
                name="lqhq, ONNX Runtime",
                file=sides / "synthesis_lqhq.py",
                function="synthesised",
                options={"bundle": str(bundle), **given},
                environment=environment,
            ),
            Contender(
                name="PyTorch eager, diffusers",
                file=sides / "synthesis_eager.py",
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
    ours, plain = (np.asarray(outcome.answer) for outcome in outcomes)
    if ours.shape != plain.shape:
        raise SystemExit(f"{case.name}: images of {ours.shape} and {plain.shape}")
    apart = np.abs(ours.astype(int) - plain)
    changed, most = float((apart > 0).mean()), int(apart.max())
    if most > APART or changed > CHANGED:
        raise SystemExit(f"{case.name}: {changed:.4%} of levels differ from PyTorch's, by up to {most}")
    flat = float(((plain == 0) | (plain == 255)).mean())
    if flat > FLAT:
        raise SystemExit(f"{case.name}: {flat:.0%} of levels are 0 or 255; expected {FLAT:.0%} at most")
    return [
        (
            outcome.name,
            f"{outcome.median:.2f}",
            "1" if outcome is outcomes[0] else str(ratio(outcome, outcomes[0])),
            f"{outcome.peak / 1e6:.0f}",
            f"{changed:.3%}, by {most}" if outcome is outcomes[0] else "-",
            outcome.note,
        )
        for outcome in outcomes
    ]


def speed_verdict(outcomes: list[Outcome]) -> str:
    found = ratio(outcomes[1], outcomes[0])
    met = "met" if found.low > FASTER else "not met"
    return f"PyTorch takes {found} times lqhq's time; the bar is a lower end above {FASTER}: {met}."


def own_share(times: Times) -> Interval:
    """Per cent of the whole call that the network does not take."""
    return median_interval([100 * (1 - part / all_) for part, all_ in zip(times.network, times.whole, strict=True)])


def share_row(case: Case, times: Times) -> tuple[object, ...]:
    """Raises `SystemExit` where the network was not called as often as the schedule says."""
    if times.calls != case.steps:
        raise SystemExit(f"{case.name}: {times.calls} calls of the network; expected {case.steps}")
    rest = median_interval([all_ - part for part, all_ in zip(times.network, times.whole, strict=True)]).median
    whole = median_interval(times.whole).median
    return case.name, times.calls, len(times.whole), f"{whole:.2f}", f"{rest * 1e3:.1f}", str(own_share(times))


def share_verdict(case: Case, times: Times) -> str:
    found = own_share(times)
    met = "met" if found.high < OWN else "not met"
    return f"{case.name}: {found} % is the sampler's; the bar is an upper end below {OWN:g} %: {met}."


def main() -> None:
    """Export and race both networks, measure shares, and write the page."""
    args, threads = arguments(__doc__, "synthesis").parse_args(), cpu_count()
    weights = f"random (seed {SEED}), so only speed and arithmetic mean anything"
    page = Page("Synthesis (LQ-DDPM)", weights=weights, packages=("onnxruntime", "torch", "diffusers", "numpy"))
    page.text(
        f"fp32, {threads} threads each, every contender in its own process, turns interleaved, one warm-up; one image "
        "in memory to its finished 8-bit partner, whole. A ratio above 1 means that lqhq is faster; the interval "
        "covers the median ratio with at least 95 % (below six rounds it is the range). PyTorch runs diffusers' "
        "UNet2DModel, with the attention processor that it comes with, and its UniPCMultistepScheduler, the last "
        "steps of 50, in inference mode and in the memory layout that was faster in a trial. Images are compared "
        "once, with the same noise; in what is timed each side draws its own. Export is all of `lqhq export lq-ddpm`: "
        "tracing, goldens, parity."
    )
    exports, shares, said = list[tuple[object, ...]](), list[tuple[object, ...]](), list[str]()
    for case in QUICK if args.quick else FULL:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            checkpoint = folder / "checkpoint"
            child("contenders.synthesis_checkpoint", checkpoint, case.size)
            made = export(case, checkpoint, folder)
            exports.append(made.row)
            outcomes = contest(case, checkpoint, made.bundle, threads)
            title = f"{case.name}, {case.side}x{case.side}, {case.steps} steps"
            page.table(title, COLUMNS, rows(case, outcomes))
            page.text(speed_verdict(outcomes))
            file = folder / "times"
            numbers = (case.side, case.steps, threads, case.share_rounds)
            child("contenders.synthesis_share", made.bundle, *numbers, file)
            times = msgspec.json.decode(file.read_bytes(), type=Times)
            shares.append(share_row(case, times))
            said.append(share_verdict(case, times))
    page.table("What of lqhq's time is not the network's", SHARES, shares)
    page.text(
        "The whole call of `Restorer.restore` less the calls of its sessions, within each round: planning, noise, rows "
        "of the schedule, hand-over between threads, pixels. " + " ".join(said)
    )
    page.table("Export", EXPORTS, exports)
    page.write(args.output)


if __name__ == "__main__":
    main()
