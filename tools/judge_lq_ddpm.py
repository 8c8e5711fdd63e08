"""Judges the demo of synthesis through the product: do its images have the damage that it was trained on?

    python tools/judge_lq_ddpm.py FOLDER PHOTOS OUT

FOLDER has `unet/` and `scheduler/`, PHOTOS is written by demo_photos.py. Photos that training never saw are reduced
(degradation `none`) or degraded (`mild`), taken into the noise and back by `lqhq synthesize`, and compared with
photos that `lq_damage.py` has damaged. Leaves `verdict.json`, `verdict.md` and `sheet.png` in OUT.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from lqhq.runtime.degrade import degrade, load_degradation
from lqhq.runtime.synthesis.sheet import sheet
from lqhq.tools.cli.main import run
from lqhq.tools.lq_damage import Pixels, damage
from lqhq.tools.lq_statistics import STATISTICS, calm, content_psnr, remaining, statistics

SCALE = 4
STRENGTHS = {"none": (0.05, 0.1, 0.15, 0.2, 0.25), "mild": (0.1, 0.2)}  # by degradation
SEED, DRAWS = 1_000_000, 8  # of damage that training has not drawn
CELL, ENLARGED = 88, 3  # pixels of a photo in the sheet, and how often each is repeated
SHOWN = 5  # photos in the sheet
SHEET = (0.05, 0.1, 0.2)  # strengths in the sheet
Images = Mapping[str, Pixels]  # by photo
Columns = Mapping[str, list[float]]  # by statistic


def made(bundle: Path, photos: Path, out: Path, degradation: str, strength: float) -> dict[str, tuple[Pixels, Pixels]]:
    """By photo, what `lqhq synthesize` started from and what it made of it."""
    folder = out / f"{degradation}-{strength:g}"
    options = ["--degradation", degradation, "--strength", f"{strength:g}:{strength:g}", "--workers", "1"]
    if run(["synthesize", str(bundle), str(photos), "-o", str(folder), *options]):
        raise SystemExit(f"{folder}: lqhq synthesize failed")
    pairs = {}
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        hq = _pixels(photos / row["source"])
        start = degrade(hq, load_degradation(degradation), scale=SCALE, key=bytes.fromhex(row["key"]))
        pairs[Path(row["source"]).stem] = start.pixels, _pixels(folder / "lq" / f"{row['name']}.png")
    return pairs


def _pixels(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))


def damaged(clean: Images, draw: int) -> dict[str, Pixels]:
    """Every photo with the damage of that draw, each its own."""
    return {photo: damage(small, (SEED, draw, k)) for k, (photo, small) in enumerate(clean.items())}


def measured(images: Images, clean: Images) -> Columns:
    """Statistics of one image for each photo, as lists in the order of the photos."""
    rows = [statistics(images[photo], calm(small)) for photo, small in clean.items()]
    return {name: [row[name] for row in rows] for name in STATISTICS}


def verdict(starts: Mapping[str, Images], made_of: Mapping[str, Mapping[float, Images]]) -> dict[str, Any]:
    """All numbers. `starts`: by degradation; `made_of`: by degradation and strength.

    The target is the mean over draws of damage of each photo; one more draw tells how near a real one comes to it.
    """
    clean = starts["none"]
    before = measured(clean, clean)
    again, *draws = (measured(damaged(clean, draw), clean) for draw in range(DRAWS + 1))
    target = {name: [fmean(values) for values in zip(*(d[name] for d in draws), strict=True)] for name in STATISTICS}
    table = {"damaged": _entry(target, before, target), "another draw": _entry(again, before, target)}
    for degradation, start in starts.items():
        table[degradation] = _entry(measured(start, clean), before, target)
        for strength, images in made_of[degradation].items():
            kept = fmean(content_psnr(images[photo], start[photo]) for photo in clean)
            entry = _entry(measured(images, clean), before, target) | {"content": kept}
            table[f"{degradation}, strength {strength:g}"] = entry
    return table


def _entry(found: Columns, before: Columns, target: Columns) -> dict[str, Any]:
    left = {name: remaining(before[name], found[name], target[name]) for name in STATISTICS}
    means = {name: fmean(values) for name, values in found.items()}
    return {"photos": len(next(iter(found.values()))), "means": means, "remaining": left}


def page(table: Mapping[str, Any]) -> str:
    """The numbers as Markdown: means, in brackets what remains of the distance, its mean, and content kept."""
    lines = ["| images | " + " | ".join(STATISTICS) + " | distance | content |", "|---" * (len(STATISTICS) + 3) + "|"]
    for label, entry in table.items():
        left = entry["remaining"]
        cells = [f"{entry['means'][name]:.2f} ({left[name]:.0%})" for name in STATISTICS]
        cells += [f"{fmean(left.values()):.0%}", f"{entry['content']:.1f} dB" if "content" in entry else ""]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def contact_sheet(clean: Images, made_of: Mapping[float, Images]) -> Pixels:
    """Middles of photos, from left to right: reduced, synthesised in rising strength, and damaged for real."""
    rows, real = [], damaged(clean, 0)
    for photo, small in list(clean.items())[:SHOWN]:
        cells = [small, *(made_of[strength][photo] for strength in SHEET), real[photo]]
        rows.append([_middle(cell).repeat(ENLARGED, 0).repeat(ENLARGED, 1) for cell in cells])
    return sheet(rows)


def _middle(image: Pixels) -> Pixels:
    top, left = (max(0, (length - CELL) // 2) // 8 * 8 for length in image.shape[:2])
    return image[top : top + CELL, left : left + CELL]


def main(folder: Path, photos: Path, out: Path) -> None:
    """Export, synthesise, measure, and write."""
    out.mkdir(parents=True, exist_ok=True)
    bundle, held = out / "bundle", photos / "validation"
    if run(["export", "lq-ddpm", str(folder), "-o", str(bundle)]):
        raise SystemExit("lqhq export failed")
    starts, made_of = dict[str, Images](), dict[str, dict[float, Images]]()
    for degradation, strengths in STRENGTHS.items():
        made_of[degradation] = {}
        for strength in strengths:
            pairs = made(bundle, held, out, degradation, strength)
            starts[degradation] = {photo: pair[0] for photo, pair in pairs.items()}
            made_of[degradation][strength] = {photo: pair[1] for photo, pair in pairs.items()}
    table = verdict(starts, made_of)
    (out / "verdict.json").write_text(json.dumps(table, indent=1) + "\n")
    (out / "verdict.md").write_text(page(table))
    Image.fromarray(contact_sheet(starts["none"], made_of["none"])).save(out / "sheet.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what train_lq_ddpm.py left")
    parser.add_argument("photos", type=Path, help="folder written by demo_photos.py")
    parser.add_argument("out", type=Path, help="folder for the bundle, the images and the verdict")
    given = parser.parse_args()
    main(given.folder, given.photos, given.out)
