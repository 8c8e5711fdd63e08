"""The VAE of Stable Diffusion in segments against its whole graph: what exact strips cost in time and save in memory.

    python benchmarks/vae_segments.py [--quick] [--bundle B] [-o FILE]

B is a bundle of `lqhq export osediff`; without it, graphs of the same sizes are made of random weights.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from contenders.vae_forms import vae_inputs
from measuring.contest import Contender, Outcome, hold_contest
from measuring.interval import Interval, median_interval
from measuring.report import BENCHMARKS, Page, arguments

from lqhq.runtime.machine import cpu_count

MIB = 1 << 20
BAR = 1.1  # times the whole graph's
CLOSE = 1e-5  # of the largest value: segments against the whole graph
WRONG = 1e-3  # the same, where times are not worth telling
ALIKE = 1e-6  # strips against other strips
COLUMNS = ("form", "median s", "its time / whole's", "less opening / whole's", "peak RSS MB", "from whole", "ran as")
FORMS = BENCHMARKS / "contenders" / "vae_forms.py"


class Case(NamedTuple):
    """`side` in latents; MiB of a strip; rounds."""

    side: int
    strips: tuple[float, ...]
    rounds: int


# A fifth of `--memory` is for a strip, up to 1024 MiB.
QUICK, FULL = Case(8, (4, 0.25), 2), Case(64, (1024, 64), 6)


def parts(bundle: str | None, quick: bool, folder: Path) -> Path:
    """The list of graphs: a bundle's, or those that are made in `folder`. Raises `SystemExit` where that fails."""
    if bundle is not None:
        from contenders.vae_parts import of_bundle

        file = folder / "parts.json"
        file.write_bytes(msgspec.json.encode(of_bundle(Path(bundle))))
        return file
    command = [sys.executable, "-m", "contenders.vae_parts", str(folder), "TINY" if quick else "FULL"]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"making the graphs failed: {done.stderr.strip()[-300:]}")
    return folder / "parts.json"


def contest(role: str, case: Case, listed: Path, threads: int) -> list[Outcome]:
    """The whole graph, then strips, then opening alone."""
    found = msgspec.json.decode(listed.read_bytes())
    given = {"role": role, "threads": threads}
    file = str(Path(found["folder"]) / found["whole"][role])
    environment = {"OMP_NUM_THREADS": str(threads)}

    def contender(name: str, function: str, **options: object) -> Contender:
        return Contender(
            name=name, file=FORMS, function=function, options={**given, **options}, environment=environment
        )

    forms = [
        contender(f"strips of {size:g} MiB", "strips", parts=str(listed), side=case.side, budget=int(size * MIB))
        for size in case.strips
    ]
    return hold_contest(
        [
            contender("whole graph", "whole", file=file, side=case.side),
            *forms,
            contender("opening alone", "opening", parts=str(listed)),
        ],
        rounds=case.rounds,
        warm_ups=1,
        answers=True,
    )


def less_opening(form: Outcome, opening: Outcome, whole: Outcome) -> Interval:
    """Median over rounds of the form's time without that of opening its sessions, for each of the whole graph's."""
    rounds = zip(form.seconds, opening.seconds, whole.seconds, strict=True)
    return median_interval([(all_of_it - opened) / plain for all_of_it, opened, plain in rounds])


def over(form: Outcome, whole: Outcome) -> Interval:
    return median_interval([a / b for a, b in zip(form.seconds, whole.seconds, strict=True)])


def distances(forms: Sequence[Outcome], other: Outcome) -> list[float]:
    """How far the answers of `forms` are from that of `other`, for each of its largest value."""
    wanted = np.asarray(other.answer, np.float64)
    return [float(np.abs(form.answer - wanted).max() / np.abs(wanted).max()) for form in forms]


def rows(role: str, outcomes: list[Outcome]) -> list[tuple[object, ...]]:
    """Table rows. Raises `SystemExit` where one failed, or what is equal by design is not."""
    whole, *forms, opening = outcomes
    for outcome in outcomes:
        if outcome.failure:
            raise SystemExit(f"{role}: {outcome.name} failed: {outcome.failure}")
    apart = distances(forms, whole)
    among = max(distances(forms, forms[0]))
    for found, bar, what in ((max(apart), WRONG, "the whole graph"), (among, ALIKE, "other strips")):
        if not found <= bar:
            raise SystemExit(f"{role}: strips are {found} of the largest value from {what}; expected {bar} or less")
    table: list[tuple[object, ...]] = [
        (whole.name, f"{whole.median:.2f}", "1", "1", f"{whole.peak / 1e6:.0f}", "-", whole.note)
    ]
    for form, distance in zip(forms, apart, strict=True):
        ratios = str(over(form, whole)), str(less_opening(form, opening, whole))
        table.append((form.name, f"{form.median:.2f}", *ratios, f"{form.peak / 1e6:.0f}", f"{distance:.1e}", form.note))
    head = opening.name, f"{opening.median:.2f}", str(over(opening, whole))
    return [*table, (*head, "-", f"{opening.peak / 1e6:.0f}", "-", opening.note)]


def verdict(role: str, outcomes: list[Outcome]) -> str:
    """Which forms meet the bars, opening included, in words."""
    whole, *forms, _ = outcomes
    apart = max(distances(forms, whole))
    near = "met" if apart <= CLOSE else "not met"
    told = (
        f"{form.name}: {over(form, whole)}, {'met' if over(form, whole).median <= BAR else 'not met'}" for form in forms
    )
    return (
        f"`{role}`, the bar is {BAR} times the whole graph's time. {'; '.join(told)}. "
        f"Values: at most {apart:.1e} from the whole graph's; the bar is {CLOSE:g}: {near}."
    )


def main() -> None:
    """Measure both roles, and write the page."""
    parser = arguments(__doc__, "vae_segments")
    parser.set_defaults(bundle=None)
    args, threads = parser.parse_args(), cpu_count()
    case = QUICK if args.quick else FULL
    page = Page(
        "The VAE in segments", weights="random, so only time and arithmetic mean anything", packages=("onnxruntime",)
    )
    page.text(
        f"fp32, {threads} threads, {8 * case.side}x{8 * case.side} pixels, every form in its own process, turns "
        "interleaved. Strips run as in the runtime, which gives each a fifth of `--memory`, up to 1024 MiB, "
        "and takes what is fast of it: one "
        "session of a segment at a time, opened for its turn (which counts, and is measured once more by itself), "
        "canvases in memory, moments merged by rows. The whole graph was opened before. Ratios above 1 mean that "
        f"strips are slower; the bar is {BAR}. Differences are the largest, for each of the largest value "
        f"({ALIKE:g} is allowed between strips)."
    )
    with tempfile.TemporaryDirectory() as name:
        listed = parts(args.bundle, args.quick, Path(name))
        for role in ("encode", "decode"):
            shape = vae_inputs(role, case.side)["input"].shape
            outcomes = contest(role, case, listed, threads)
            page.table(f"`{role}` of {'x'.join(map(str, shape))}", COLUMNS, rows(role, outcomes))
            page.text(verdict(role, outcomes))
            page.write(args.output)  # after each: it takes minutes


if __name__ == "__main__":
    main()
