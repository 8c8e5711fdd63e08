"""What tiles change in a guided restoration (DiffIR): the prior, the image near tile edges, and memory.

    python benchmarks/guided_tiles.py PHOTOS --bundle B [--sheet FOLDER] [--quick] [-o FILE]

PHOTOS is the folder that tools/demo_photos.py writes. Tiles and overlaps are pixels of the LR image.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measuring.report import BENCHMARKS, Page, arguments, weights_line
from measuring.seams import bin_names, by_distance
from numpy.typing import NDArray
from PIL import Image

from lqhq.kernels.noise import normal
from lqhq.runtime import Restorer, open_bundle
from lqhq.runtime.engines import open_session
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.geometry import Size
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.runtime.manifest import Role
from lqhq.runtime.tiles import plan_tiles

SIDES = (64, 128, 256)
OVERLAPS = (0, 8, 16, 32)
REDUCTIONS = (128, 256, 512)
BUDGET = "4G"
LARGE, SMALL, QUICK = 1024, 320, 160  # sides: of the photo within the budget, of those for seams, of --quick
PHOTOS = 3

Pixels = NDArray[np.uint8]


def photos(folder: Path, side: int, count: int) -> list[Pixels]:
    """Centres `[side, side, 3]` of the first photos that are large enough."""
    found = []
    for path in sorted((folder / "validation").glob("*.png")):
        image = np.asarray(Image.open(path).convert("RGB"))
        if min(image.shape[:2]) >= side and len(found) < count:
            top, left = ((length - side) // 2 for length in image.shape[:2])
            found.append(np.ascontiguousarray(image[top : top + side, left : left + side]))
    if not found:
        raise SystemExit(f"{folder}/validation holds no photo of {side} pixels")
    return found


def prior_rows(bundle: str, image: Pixels, sides: Sequence[int]) -> list[tuple[object, ...]]:
    """Pooled features and prior of `image` from tiles, against those from one tile."""
    opened = open_bundle(bundle)
    manifest = opened.manifest
    assert manifest.reduction is not None
    multiple = manifest.tiles.multiple
    overlap = -(-2 * manifest.reduction.reach // multiple) * multiple + multiple
    lq = (image.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    width = manifest.graphs["encode"]["fp32"].inputs["noise"].shape[1]
    noise = normal(seed=0, stream="prior", row=0, channels=1, top=0, left=0, height=1, width=int(width))[0]
    roles: tuple[Role, ...] = ("reduce", "encode")
    sessions = {role: open_session("onnx", opened.graph(role, "fp32"), Setup(device="cpu")) for role in roles}

    def prior(side: int, overlap: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        plan = plan_tiles(Size(*image.shape[:2]), Size(side, side), overlap=overlap, multiple=multiple)
        sums, count = np.zeros(1), np.zeros(1)
        for index in range(len(plan)):
            box, core = plan.box(index), plan.core(index, multiple=multiple)
            mask = np.zeros((1, 1, *image.shape[:2]), np.float32)
            mask[:, :, core.rows, core.columns] = 1
            feed = {"lq": lq[:, :, box.rows, box.columns], "mask": mask[:, :, box.rows, box.columns]}
            fetch = sessions["reduce"].run(feed)
            sums, count = sums + fetch["sums"].astype(np.float64), count + fetch["count"].astype(np.float64)
        pooled = sums / count
        return pooled, sessions["encode"].run({"pooled": pooled.astype(np.float32), "noise": noise})["cond"]

    whole = prior(max(image.shape), 0)
    rows = []
    for side in sides:
        pooled, cond = prior(side, overlap)
        differences = [f"{np.abs(ours - theirs).max():.1e}" for ours, theirs in zip((pooled, cond), whole, strict=True)]
        rows.append((side, overlap, *differences, f"{np.abs(whole[1]).max():.2f}"))
    return rows


def seam_rows(
    bundle: str, images: Sequence[Pixels], sides: Sequence[int], overlaps: Sequence[int]
) -> list[tuple[object, ...]]:
    """Difference to the untiled result over all images, in levels of 255, by prior, tile, overlap and distance."""
    rows = []
    with Restorer.open(bundle) as restorer:
        growth = restorer.bundle.manifest.growth
        floats = [(image / np.float32(255)).astype(np.float32) for image in images]
        whole = [restorer.restore(image, tile=1 << 16, overlap=0) for image in floats]
        for side in sides:
            for overlap in (value for value in overlaps if 2 * value <= side):
                for prior in ("image", "tile"):
                    parts: list[list[NDArray[np.float32]]] = []
                    for image, reference in zip(floats, whole, strict=True):
                        tiled = restorer.restore(image, tile=side, overlap=overlap, prior=prior)
                        plan = restorer.plan(image, tile=side, overlap=overlap).plan.scaled(growth)
                        parts.append(by_distance(255 * np.abs(tiled - reference).max(2), plan))
                    bins = [np.concatenate(values) for values in zip(*parts, strict=True)]
                    every = np.concatenate(bins)
                    cells = [f"{part.max():.2f} / {part.mean():.3f}" if part.size else "-" for part in bins]
                    rms = f"{np.sqrt(np.mean(every.astype(np.float64) ** 2)):.3f}"
                    rows.append((side, overlap, prior, f"{plan.overhead:.2f}", rms, *cells))
    return rows


def budget_row(bundle: str, image: Pixels, budget: str, keep: Path | None) -> tuple[object, ...]:
    """The command on a file within `budget`: seconds, and peak memory of the whole process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target, peak = folder / "photo.png", folder / "photo_x.png", folder / "peak"
        write_image(source, ImageFile(pixels=image))
        words = ["-m", "measuring.command_line", peak, "upscale", bundle, source, "-o", target, "--memory", budget]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *map(str, words)], cwd=BENCHMARKS, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(f"lqhq upscale: exit code {done.returncode}: {done.stderr.strip()}")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / "budget.png").write_bytes(target.read_bytes())
        size = f"{image.shape[1]}x{image.shape[0]}"
        choice = done.stderr.strip().splitlines()[0].partition(": ")[2]
        return size, budget, f"{int(peak.read_text(encoding='ascii')) / 1e9:.2f} GB", f"{seconds:.0f}", choice


def main() -> None:
    """Measure, and write the page."""
    parser = arguments(__doc__, "guided_tiles")
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder with validation/")
    parser.add_argument(
        "--sheet", type=Path, metavar="FOLDER", help="also keep the result within the budget, to look at"
    )
    args = parser.parse_args()
    if args.bundle == "demo":
        parser.error("--bundle is needed: the demo that ships is not guided")
    sides, overlaps = ((64, 96), (0, 32)) if args.quick else (SIDES, OVERLAPS)
    large, small = (4 * QUICK, QUICK) if args.quick else (LARGE, SMALL)
    page = Page("Tiles in a guided restoration", weights=weights_line(args.bundle), packages=("onnxruntime", "numpy"))
    (photo,) = photos(args.photos, large, 1)
    page.text(
        f"Prior: the centre {large}x{large} of a photo never trained on, one tile against several. Largest difference "
        "of the pooled features and of the prior, whose largest value is in the last column; the bar is 1e-5."
    )
    columns = ("tile of reduce", "overlap", "pooled", "prior", "largest prior")
    page.table(
        "Prior from tiles", columns, prior_rows(args.bundle, photo, REDUCTIONS[:2] if args.quick else REDUCTIONS)
    )
    images = photos(args.photos, small, 2 if args.quick else PHOTOS)
    page.text(
        f"Seams: the centres {small}x{small} of {len(images)} photos never trained on, tiled against untiled, worst "
        "channel, levels of 255 before rounding: rms, then max / mean by distance in pixels of the result to the "
        "nearest line where a tile begins or ends."
    )
    columns = ("tile", "overlap", "prior", "pixels run / image", "rms", *bin_names())
    page.table("Tiled against untiled", columns, seam_rows(args.bundle, images, sides, overlaps))
    page.text("The whole command `lqhq upscale --memory`, with its start and its files; peak is VmHWM of the process.")
    columns = ("LR photo", "budget", "peak", "seconds", "what it chose")
    page.table("Within a budget", columns, [budget_row(args.bundle, photo, BUDGET, args.sheet)])
    page.write(args.output)


if __name__ == "__main__":
    main()
