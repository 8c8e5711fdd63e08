"""Peak memory and time of the whole command `lqhq upscale` against the size of the result.

    python benchmarks/peak_memory.py [--quick] [--bundle B] [-o FILE]

Each size is one process, from start to the written PNG; the image is made by `measuring/scene.py` beforehand.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from measuring.report import BENCHMARKS, Page, arguments, weights_line
from measuring.scene import SEED, scene

from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.runtime.machine import cpu_count

SIZES = (1024, 2048, 4096, 8000)
QUICK_SIZES = (1024, 2048)
SCALE = 4
BAR = 1.5e9  # bytes, for the largest size
COLUMNS = ("result", "megapixels", "seconds", "s per megapixel", "peak RSS MB", "MB per further megapixel")


class Measured(NamedTuple):
    """One process."""

    side: int
    seconds: float
    peak: int

    @property
    def megapixels(self) -> float:
        return self.side**2 / 1e6


def measure(bundle: str, side: int, folder: Path) -> Measured:
    """Upscale to `side` x `side`. Raises `SystemExit` with the command's own words when it fails."""
    source, target, peak = folder / f"{side}.png", folder / f"{side}_x4.png", folder / "peak"
    write_image(source, ImageFile(pixels=scene(side // SCALE, side // SCALE)))
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "measuring.command_line",
        peak,
        "upscale",
        bundle,
        source,
        "-o",
        target,
    ]
    command += ["--blend", "final", "--schedule", "fast", "--threads", str(cpu_count())]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"lqhq upscale to {side}: exit code {done.returncode}: {done.stderr.strip()}")
    target.unlink()
    return Measured(side, seconds, int(peak.read_text(encoding="ascii")))


def rows(found: list[Measured]) -> list[tuple[object, ...]]:
    """Table rows; the last column is the slope from the size above."""
    table: list[tuple[object, ...]] = []
    for at, before in zip(found, [None, *found], strict=False):
        slope = "-" if before is None else f"{(at.peak - before.peak) / 1e6 / (at.megapixels - before.megapixels):.1f}"
        each = f"{at.seconds / at.megapixels:.2f}"
        size = f"{at.side}x{at.side}"
        table.append((size, f"{at.megapixels:.1f}", f"{at.seconds:.1f}", each, f"{at.peak / 1e6:.0f}", slope))
    return table


def main() -> None:
    """Measure every size, and write the page."""
    args = arguments(__doc__, "peak_memory").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = [measure(args.bundle, side, Path(folder)) for side in (QUICK_SIZES if args.quick else SIZES)]
    packages = ("onnxruntime", "numpy", "pyvips")
    page = Page("Peak memory against size", weights=weights_line(args.bundle), packages=packages)
    page.text(
        f"The whole process `lqhq upscale --blend final --schedule fast`, {cpu_count()} threads, synthetic PNG in "
        f"(seed {SEED}), PNG out. Peak RSS is the kernel's VmHWM of that process."
    )
    page.table("Size, time, memory", COLUMNS, rows(found))
    last, before = found[-1], found[-2]
    pixels, seconds = last.megapixels / before.megapixels, last.seconds / before.seconds
    page.text(
        f"From {before.side} to {last.side} the pixels grow {pixels:.2f} times, the time {seconds:.2f} times. "
        f"The peak at {last.side}x{last.side} is {last.peak / 1e9:.2f} GB; the bar is {BAR / 1e9} GB at 8000x8000"
        f"{': met.' if last.peak < BAR else ': MISSED.'}"
    )
    page.write(args.output)


if __name__ == "__main__":
    main()
