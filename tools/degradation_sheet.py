"""A contact sheet of degradations: each photo's middle, and beside it several draws of each, with what was drawn.

    python tools/degradation_sheet.py SHEET.png PHOTO... [--names mild bsrgan] [--draws 4] [--side 224] [--seed 0]

The low-quality images are enlarged to the photo's size by repeating pixels, so that nothing is hidden. Captions: a
blur's kind by its initials and its sigmas in pixels; sinc and its cut-off; x, a factor of the image as it stands or of
the LQ size, and how (area, lin, cub, aa: antialiased); rgb or gray noise in levels, or P and the Poisson scale; q, JPEG
quality; usm, sharpening; sub, one value of each cell and the sigma before; cov, correlated noise per channel.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lqhq.runtime.degrade import NAMES, crop_to_scale, degrade, load_degradation
from lqhq.runtime.image_file import read_image

__all__ = ["caption", "main", "sheet"]

Pixels = NDArray[np.uint8]
GAP, LINE, LINES = 6, 12, 4  # pixels between cells, per line of a caption, lines of it
FONT = 10
SHORT = {"area": "area", "bilinear": "lin", "bicubic": "cub", "antialiased": "aa"}


def _words(step: Mapping[str, Any]) -> str:
    """One step in a few characters: sigmas in pixels or levels, factors, qualities."""
    match step["op"]:
        case "blur":
            kind = "".join(word[0] for word in step["kind"].split("_"))
            return f"{kind} {step['sigma'][0]:.1f}/{step['sigma'][1]:.1f}"
        case "sinc":
            return f"sinc {step['cutoff']:.2f}"
        case "resize":
            return f"{'' if step['of'] == 'image' else 'LQ '}x{step['factor']:.2f} {SHORT[step['mode']]}"
        case "subsample":
            return f"sub {step['factor']} {step['sigma']:.1f}"
        case "gaussian_noise":
            return f"{'gray' if step['gray'] else 'rgb'} {step['sigma']:.0f}"
        case "correlated_noise":
            return "cov " + "/".join(f"{step['covariance'][band][band] ** 0.5:.0f}" for band in range(3))
        case "poisson_noise":
            return f"{'gray' if step['gray'] else 'rgb'} P{step['scale']:.1f}"
        case "jpeg":
            return f"q{step['quality']}"
        case _:
            return f"usm {step['weight']:.1f}"


def caption(parameters: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """The steps in their order, as lines of at most `width` characters."""
    lines = [""]
    for step in parameters:
        words = _words(step)
        joined = f"{lines[-1]}, {words}" if lines[-1] else words
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(words)
    return lines


def _middle(image: Pixels, side: int) -> Pixels:
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def _row(hq: Pixels, name: str, draws: int, scale: int, seed: int) -> list[tuple[Pixels, list[str]]]:
    """The photo, then its partners at the photo's size, each with its caption."""
    degradation = load_degradation(name)
    cells = [(hq, [f"{name}, 1/{scale}"])]
    for index in range(draws):
        key = hashlib.sha256(f"{seed} {name} {index}".encode() + hq.tobytes()).digest()
        found = degrade(hq, degradation, scale=scale, key=key)
        large = found.pixels.repeat(scale, axis=0).repeat(scale, axis=1)
        cells.append((large, caption(found.parameters, width=hq.shape[1] // 5)))
    return cells


def sheet(
    photos: Sequence[Pixels], names: Sequence[str], *, draws: int, side: int, scale: int, seed: int
) -> Image.Image:
    """One row per photo and degradation: HQ | `draws` partners. `photos`: uint8 `[H, W, 3]` RGB; `side` in pixels."""
    rows = [
        _row(np.ascontiguousarray(crop_to_scale(_middle(photo, side), scale)), name, draws, scale, seed)
        for photo in photos
        for name in names
    ]
    height = side + LINES * LINE + GAP
    canvas = Image.new("RGB", ((side + GAP) * (draws + 1) + GAP, height * len(rows) + GAP), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(FONT)
    for y, row in enumerate(rows):
        for x, (pixels, lines) in enumerate(row):
            left, top = GAP + x * (side + GAP), GAP + y * height
            canvas.paste(Image.fromarray(pixels), (left, top))
            for line, text in enumerate(lines[:LINES]):
                pen.text((left, top + side + line * LINE), text, fill="black", font=font)
    return canvas


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sheet whole or not at all."""
    parser = argparse.ArgumentParser(description="Write a contact sheet of degradations.")
    parser.add_argument("sheet", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--names", nargs="+", default=list(NAMES), help="names of degradations, or .toml files")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--side", type=int, default=224, help="pixels of each photo's middle")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    photos = [_rgb(read_image(path).pixels) for path in given.photos]
    made = sheet(photos, given.names, draws=given.draws, side=given.side, scale=given.scale, seed=given.seed)
    partial = given.sheet.with_name(f".{secrets.token_hex(8)}.part")
    try:
        made.save(partial, "PNG", optimize=True)
        os.replace(partial, given.sheet)
    finally:
        partial.unlink(missing_ok=True)


def _rgb(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Pixels:
    """8-bit colours without alpha."""
    eight = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)
    return eight[:, :, :3] if eight.shape[2] >= 3 else eight[:, :, :1].repeat(3, axis=2)


if __name__ == "__main__":
    main()
