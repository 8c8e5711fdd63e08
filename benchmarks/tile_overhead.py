"""What tiles cost and change: time against planned pixels, and error by distance to the nearest tile edge.

python benchmarks/tile_overhead.py [--quick] [--bundle B] [-o FILE]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from measuring.contest import Contender, Outcome, hold_contest, ratio
from measuring.report import BENCHMARKS, Page, arguments, weights_line
from measuring.scene import scene
from measuring.seams import bin_names, by_distance
from numpy.typing import NDArray

from lqhq.runtime import Restorer
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.tiles import TilePlan, fit_tile

TIME_COLUMNS = (
    "preferred",
    "tile run",
    "overlap",
    "tiles",
    "pixels run / canvas",
    "time / untiled, with interval",
    "time per pixel run",
)
PLANS = ((256, 76), (512, 32), (512, 76), (512, 128), (1024, 76))
OVERLAPS = (0, 16, 32, 64, 76, 128)
SEAM_TILE = 512
ROUNDS = 6


def fitted(restorer: Restorer, canvas: int, preferred: int, overlap: int) -> int:
    """The side that `--tile auto` runs where a bundle prefers `preferred`: no tile is shifted much then."""
    return fit_tile(canvas, preferred, overlap=overlap, multiple=restorer.bundle.manifest.tiles.multiple)


def contender(bundle: str, side: int, tile: int, overlap: int) -> Contender:
    """A whole restoration with that tile; `tile` as long as the canvas is untiled."""
    options = {"bundle": bundle, "side": side, "threads": cpu_count(), "tile": tile, "overlap": overlap}
    file = BENCHMARKS / "contenders" / "lqhq_side.py"
    return Contender(name=f"{tile} {overlap}", file=file, function="restore", options=options)


def seam_rows(restorer: Restorer, side: int, tile: int, overlaps: Sequence[int]) -> list[tuple[object, ...]]:
    """For each overlap: max and mean difference to untiled, in 8-bit levels before rounding, by distance."""
    image = scene(side, side).astype(np.float32) / 255
    canvas = side * restorer.bundle.manifest.scale

    def run(size: int, overlap: int) -> NDArray[np.float32]:
        restored: NDArray[np.float32] = restorer.restore(
            image, tile=size, overlap=overlap, blend="final", schedule="fast"
        )
        return restored

    whole = run(canvas, 0)
    found = []
    for overlap in overlaps:
        size = fitted(restorer, canvas, tile, overlap)
        plan = restorer.plan(image, tile=size, overlap=overlap, blend="final", schedule="fast").plan
        error = np.abs(run(size, overlap) - whole).max(2) * 255
        cells = [f"{part.max():.3f} / {part.mean():.4f}" if part.size else "-" for part in by_distance(error, plan)]
        found.append((overlap, size, f"{plan.overhead:.2f}", *cells))
    return found


def time_rows(bundle: str, side: int, plans: Sequence[tuple[int, int]], rounds: int) -> list[tuple[object, ...]]:
    """Untiled first, then each plan against it."""
    with Restorer.open(bundle, threads=1) as restorer:
        canvas = side * restorer.bundle.manifest.scale
        asked = [(canvas, 0), *((fitted(restorer, canvas, *plan), plan[1]) for plan in plans)]
        made = [restorer.plan(scene(side, side), tile=tile, overlap=overlap).plan for tile, overlap in asked]
    outcomes = hold_contest([contender(bundle, side, *plan) for plan in asked], rounds=rounds, warm_ups=1)
    named = ("untiled", *(preferred for preferred, _ in plans))
    return [
        (name, *_timed(plan, outcome, outcomes[0])) for name, plan, outcome in zip(named, made, outcomes, strict=True)
    ]


def _timed(plan: TilePlan, outcome: Outcome, untiled: Outcome) -> tuple[object, ...]:
    if outcome.failure or untiled.failure:
        raise SystemExit(f"tile {plan.tile.width}: {outcome.failure or untiled.failure}")
    if outcome is untiled:
        return (plan.canvas.width, "-", 1, "1.00", f"1 ({untiled.median:.2f} s)", "1.00")
    time = ratio(outcome, untiled)
    return (
        plan.tile.width,
        plan.overlap,
        len(plan),
        f"{plan.overhead:.2f}",
        str(time),
        f"{time.median / plan.overhead:.2f}",
    )


def main() -> None:
    """Measure times, then seams, and write the page."""
    args = arguments(__doc__, "tile_overhead").parse_args()
    side, tile, rounds = (64, 128, 2) if args.quick else (512, SEAM_TILE, ROUNDS)
    plans = ((128, 32), (128, 64)) if args.quick else PLANS
    overlaps = (0, 32) if args.quick else OVERLAPS
    page = Page("Tiles: time and seams", weights=weights_line(args.bundle), packages=("onnxruntime", "numpy"))
    canvas = 4 * side
    page.text(
        f"Whole restorations to {canvas}x{canvas}, schedule `fast`, blend `final`; tile and overlap in pixels of "
        "the result. Each plan in its own process, turns interleaved, one warm-up. Time per pixel run is the time "
        "ratio divided by the pixel ratio: below 1, a tile's pixels cost less than the whole canvas's (caches)."
    )
    page.table(f"Time on a {canvas}x{canvas} canvas", TIME_COLUMNS, time_rows(args.bundle, side, plans, rounds))
    page.text(
        f"Seams: preferred tile {tile}, the float result against the untiled one, worst channel, max / mean in "
        "8-bit levels, by distance in pixels to the nearest line where a tile begins or ends. The image is "
        "synthetic (sines, edges, noise), harsher than a photo."
    )
    columns = ("overlap", "tile run", "pixels run / canvas", *bin_names())
    with Restorer.open(args.bundle) as restorer:
        page.table("Error by distance to the nearest tile edge", columns, seam_rows(restorer, side, tile, overlaps))
    page.write(args.output)


if __name__ == "__main__":
    main()
