"""OSEDiff at the size of SD-2.1-base: export, parity with PyTorch, time and memory of each stage, engines.

    python benchmarks/osediff_full.py [--quick] [--folder DIR] [--engines] [-o FILE]

The weights are random, in the official format: speed and arithmetic mean something, the images nothing. DIR keeps the
checkpoint (5 GB), the bundle (8 GB) and merged weights (5 GB), and what is there is used again. --engines builds
TensorRT-RTX engines of the bundle, too, with the extra rtx.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from contenders import osediff_checkpoint
from contenders.osediff_engines import COLUMNS as ENGINES
from contenders.osediff_engines import build, engine_row
from contenders.osediff_feeds import STAGES
from contenders.osediff_folder import MADE, Exported, OseDiffFolder
from contenders.osediff_image import Took
from contenders.osediff_macs import stage_macs
from measuring.contest import Contender, Outcome, hold_contest, ratio
from measuring.report import BENCHMARKS, Page, arguments
from numpy.typing import NDArray

from lqhq.runtime.bundle import read_manifest
from lqhq.runtime.golden_file import read_golden
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.manifest import Manifest

MINUTES, BYTES = 20, 12e9  # what an export in fp32 and fp16 may take
X0 = 1e-3  # of the largest value: how far x0 may be from PyTorch's
CLOSE = 1e-3  # the same, of a stage
# Share of the finished image's levels that may differ, and by how much: one where a value lies between two, which
# the colour fix multiplies by the ratio of deviations. 0.02 % by two levels were seen at 1024 pixels.
CHANGED, STEP = 1e-3, 2
IMAGES = ("image", "tiles", "seconds", "PyTorch's", "peak RSS GB", "PyTorch's", "levels that differ", "by", "how")
PARITY = ("what", "precision", "cases", "max abs", "bound", "passed")
SHARES = ("stage", "lqhq s", "PyTorch's time / lqhq's", "peak RSS GB", "PyTorch's", "apart", "GMAC", "of GMAC")
SHARES += ("of lqhq's time", "lqhq GMAC/s")


class Case(NamedTuple):
    """`size` of the networks; sides of the images given, of a stage's latents, rounds; profiles of engines."""

    size: str
    images: tuple[int, ...]
    latents: int
    rounds: int
    profiles: tuple[str, ...]


QUICK, FULL = (
    Case("TINY", (128, 256), 8, 2, ("64x64",)),
    Case("FULL", (128, 256), 64, 5, ("768x768", "256-768x256-768")),
)


def child(module: str, *words: object) -> None:
    """Run a module of ours in a process of its own. Raises `SystemExit` with its last words where it fails."""
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")


def prepare(where: OseDiffFolder, folder: Path, size: str) -> bool:
    """Make the checkpoint and export it, unless they are there; whether the export was of this run."""
    if not where.adapter.exists():
        print("writing the checkpoint", file=sys.stderr, flush=True)
        child(MADE, folder, size)
    if where.bundle.exists() and where.exported.exists():
        return False
    print("exporting", file=sys.stderr, flush=True)
    start, peak = time.perf_counter(), folder / "peak"
    told = ["export", "osediff", where.adapter, "--base", where.base, "--precision", "fp16", "-o", where.bundle]
    child("measuring.command_line", peak, *told)
    taken = time.perf_counter() - start
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    where.keep(Exported(seconds=taken, peak=int(peak.read_text(encoding="ascii")), day=today))
    return True


def export_text(exported: Exported, fresh: bool, bundle: Path) -> str:
    """What the export took, against its bars."""
    size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    met = exported.seconds <= 60 * MINUTES and exported.peak <= BYTES
    when = "in this run" if fresh else f"in a run of {exported.day}, whose bundle was kept"
    return (
        f"`lqhq export osediff --precision fp16` (fp32 and fp16: tracing, goldens, parity of both) took "
        f"{exported.seconds / 60:.1f} minutes and a peak of {exported.peak / 1e9:.1f} GB {when}; the bundle has "
        f"{size / 1e9:.1f} GB. The bars are {MINUTES} minutes and {BYTES / 1e9:.0f} GB: {'met' if met else 'not met'}."
    )


def parity_rows(manifest: Manifest) -> list[tuple[object, ...]]:
    """The manifest's own record."""
    return [
        (one.what, one.precision, one.cases, f"{one.max_abs:.1e}", one.bound, "yes" if one.passed else "NO")
        for one in manifest.parity
    ]


def x0_text(bundle: Path, manifest: Manifest) -> str:
    """How far x0 was from PyTorch's at export, relative to the largest value of the bundle's own x0."""
    golden = read_golden(bundle / "goldens" / "denoise.npz", "goldens/denoise.npz")
    largest = max(float(np.abs(array).max()) for name, array in golden.items() if name.endswith("pred"))
    worst = max(one.max_abs for one in manifest.parity if one.what == "denoise" and one.precision == "fp32")
    apart = worst / largest
    met = "met" if apart <= X0 else "not met"
    return f"x0 in fp32 is {apart:.1e} of its largest value ({largest:.1f}) from PyTorch's; the bar is {X0:g}: {met}."


def run_images(
    where: OseDiffFolder, folder: Path, sides: Sequence[int], manifest: Manifest
) -> list[tuple[object, ...]]:
    """Each image through lqhq, then all through PyTorch, in the same tiles. Raises `SystemExit` where they differ."""
    assert manifest.prompt is not None  # exported without --prompt
    for side in sides:
        print(f"restoring {side}x{side}", file=sys.stderr, flush=True)
        child("contenders.osediff_image", where.bundle, side, folder / f"ours-{side}")
        (folder / f"plain-{side}.json").write_bytes((folder / f"ours-{side}.json").read_bytes())
    print("restoring with PyTorch", file=sys.stderr, flush=True)
    empty = ",".join(map(str, manifest.prompt.empty))
    child("contenders.osediff_plain", where.folder, empty, *(f"{side}={folder / f'plain-{side}'}" for side in sides))
    return [image_row(folder, side) for side in sides]


def image_row(folder: Path, side: int) -> tuple[object, ...]:
    """The row of `IMAGES`. Raises `SystemExit` where the images differ by more than a rounding here and there."""
    names = [folder / f"{who}-{side}" for who in ("ours", "plain")]
    ours, plain = (np.load(name.with_suffix(".npy")).astype(np.int64) for name in names)
    took = [msgspec.json.decode(name.with_suffix(".json").read_bytes(), type=Took) for name in names]
    apart = np.abs(ours - plain)
    changed = float((apart > 0).mean())
    if apart.max() > STEP or changed > CHANGED:
        raise SystemExit(
            f"{side}: {changed:.2%} of levels differ, by up to {apart.max()}; expected {CHANGED:.1%}, {STEP}"
        )
    return (
        f"{side}x{side} to {plain.shape[1]}x{plain.shape[0]}",
        f"{len(took[0].starts) ** 2} of {took[0].tile} latents",
        *(f"{one.seconds:.0f}" for one in took),
        *(f"{one.peak / 1e9:.1f}" for one in took),
        f"{changed:.4%}",
        apart.max(),
        took[0].how,
    )


def contest(role: str, case: Case, where: OseDiffFolder, threads: int) -> list[Outcome]:
    """lqhq first."""
    sizes: osediff_checkpoint.Sizes = getattr(osediff_checkpoint, case.size)
    given = {"role": role, "side": case.latents, "threads": threads}
    shape = {"width": sizes.unet["cross_attention_dim"], "words": sizes.words}
    sides, environment = BENCHMARKS / "contenders", {"OMP_NUM_THREADS": str(threads)}
    return hold_contest(
        [
            Contender(
                name=f"lqhq, {role}",
                file=sides / "osediff_stages.py",
                function="stage",
                options={"bundle": str(where.bundle), **given, **shape},
                environment=environment,
            ),
            Contender(
                name=f"PyTorch eager, {role}",
                file=sides / "osediff_eager.py",
                function="stage",
                options={"merged": str(where.merged), "size": case.size, **given},
                environment=environment,
            ),
        ],
        rounds=case.rounds,
        warm_ups=1,
        answers=True,
    )


def stage_rows(outcomes: dict[str, list[Outcome]], macs: dict[str, int]) -> list[tuple[object, ...]]:
    """The rows of `SHARES`. Raises `SystemExit` where one failed or the answers differ."""
    rows: list[tuple[object, ...]] = []
    total, work = sum(ours.median for ours, _ in outcomes.values()), sum(macs.values())
    for role, (ours, plain) in outcomes.items():
        apart = relative(role, ours, plain)
        rows.append(
            (
                role,
                f"{ours.median:.2f}",
                str(ratio(plain, ours)),
                *(f"{one.peak / 1e9:.2f}" for one in (ours, plain)),
                f"{apart:.1e}",
                f"{macs[role] / 1e9:.3g}",
                f"{macs[role] / work:.0%}",
                f"{ours.median / total:.0%}",
                f"{macs[role] / 1e9 / ours.median:.0f}",
            )
        )
    return [
        *rows,
        ("all", f"{total:.2f}", *["-"] * 4, f"{work / 1e9:.3g}", "100%", "100%", f"{work / 1e9 / total:.0f}"),
    ]


def relative(role: str, ours: Outcome, plain: Outcome) -> float:
    """How far the answers are apart, for each of PyTorch's largest value."""
    for outcome in (ours, plain):
        if outcome.failure or outcome.answer is None:
            raise SystemExit(f"{outcome.name} failed: {outcome.failure}")
    wanted: NDArray[np.float64] = np.asarray(plain.answer, np.float64)
    apart = float(np.abs(np.asarray(ours.answer, np.float64) - wanted).max() / np.abs(wanted).max())
    if not apart <= CLOSE:
        raise SystemExit(f"{role}: lqhq is {apart} of the largest value from PyTorch; expected {CLOSE} or less")
    return apart


def engine_rows(where: OseDiffFolder, folder: Path, case: Case) -> list[tuple[object, ...]]:
    """TensorRT-RTX engines of what runs on images."""
    rows = []
    for role in STAGES[1:]:
        print(f"building the engine of {role}", file=sys.stderr, flush=True)
        rows.append(engine_row(build(where.bundle, role, case.profiles, folder / f"engines-{role}")))
    return rows


def measure(
    page: Page, where: OseDiffFolder, folder: Path, case: Case, *, fresh: bool, engines: bool
) -> Iterator[None]:
    """All tables, one after the other: each takes minutes."""
    threads, manifest = cpu_count(), read_manifest(where.bundle)
    page.text(export_text(where.record(), fresh, where.bundle))
    page.table("Parity, as the bundle records it", PARITY, parity_rows(manifest))
    page.text(x0_text(where.bundle, manifest))
    yield
    page.table("Finished images", IMAGES, run_images(where, folder, case.images, manifest))
    yield
    outcomes = {role: contest(role, case, where, threads) for role in STAGES}
    sizes: osediff_checkpoint.Sizes = getattr(osediff_checkpoint, case.size)
    side = 8 * case.latents
    page.table(f"Stages at {side}x{side}", SHARES, stage_rows(outcomes, stage_macs(sizes, case.latents)))
    larger = stage_macs(sizes, case.latents * 3 // 2)["denoise"]
    page.text(
        f"The UNet of a tile of {case.latents * 3 // 2}x{case.latents * 3 // 2} latents takes {larger / 1e9:.3g} GMAC."
    )
    yield
    if engines:
        page.table("TensorRT-RTX engines in fp16", ENGINES, engine_rows(where, folder, case))
        page.text("Built on the CPU above, on a machine without a GPU: **none was opened or run**.")
        yield


def main() -> None:
    """Export where needed, measure, and write the page."""
    parser = arguments(__doc__, "osediff_full")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the checkpoint and the bundle, or use them")
    parser.add_argument("--engines", action="store_true", help="build TensorRT-RTX engines, too")
    args = parser.parse_args()
    case = QUICK if args.quick else FULL
    packages = ("onnxruntime", "torch", "diffusers", *(["tensorrt-rtx-cu13"] if args.engines else []))
    weights = f"random (seed {osediff_checkpoint.SEED}), so only speed and arithmetic mean anything"
    page = Page("OSEDiff at full size", weights=weights, packages=packages)
    page.text(
        f"fp32, {cpu_count()} threads. Images go through the whole pipeline (enlarging, text, VAE, UNet, colour fix), "
        "each side in its own process, once, after loading; PyTorch runs diffusers' own networks in inference mode, "
        "with its own enlarging, windows and rounding. Stages are raced: every contender in its own process, turns "
        "interleaved, one warm-up; a ratio above 1 means that lqhq is faster, and the interval covers the median ratio "
        "with at least 95 % (below six rounds it is the range). `apart` is the largest difference of the answers for "
        "each of the largest value. PyTorch has the faster of two memory layouts. Peak RSS is VmHWM of the process, "
        "mapped weights included."
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if args.folder is None else args.folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        where = OseDiffFolder(folder)
        fresh = prepare(where, folder, case.size)
        for _ in measure(page, where, Path(scratch), case, fresh=fresh, engines=args.engines):
            page.write(args.output)


if __name__ == "__main__":
    main()
