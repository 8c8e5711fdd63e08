"""PSNR-Y and SSIM of the bundle's schedules on whole photos that were never trained on, beside simple rivals.

    python benchmarks/quality.py PHOTOS [--sheet FILE] [--quick] [--bundle B] [-o FILE]

PHOTOS is the folder that tools/demo_photos.py writes, with train/ and validation/. Everything goes from uint8 to
uint8: what lqhq is given is a PNG file of the LR image, and what is compared is its uint8 result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from measuring.report import Page, arguments, weights_line
from measuring.sheet import liveliest_crop, write_sheet
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lqhq.runtime import Restorer
from lqhq.runtime.image_file import ImageFile, read_image
from lqhq.runtime.image_write import write_image
from lqhq.tools.demo_metrics import LinearFilter, psnr_y, ssim_y
from lqhq.tools.demo_pairs import Pairs, to_tensor

SEED = 0  # of the patches that the linear filter is fitted on; the trainer's default
SCALE = 4
SHARPEN = tuple((radius, percent) for radius in (1.0, 2.0, 3.0) for percent in (40, 80, 120, 160))
CROP, CROPS = 96, 4

Pixels = NDArray[np.uint8]
Enlarger = Callable[[Pixels], Pixels]
Scores = dict[str, list[tuple[float, float]]]


def bicubic(lr: Pixels) -> Pixels:
    """Pillow's, rounded to uint8."""
    image = Image.fromarray(lr)
    size = (lr.shape[1] * SCALE, lr.shape[0] * SCALE)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def sharpened(lr: Pixels, radius: float, percent: int) -> Pixels:
    """Bicubic, then Pillow's unsharp mask."""
    mask = ImageFilter.UnsharpMask(radius=radius, percent=percent, threshold=0)
    return np.asarray(Image.fromarray(bicubic(lr)).filter(mask))


def best_sharpening(training: Pairs, photos: int) -> tuple[float, int]:
    """The radius and percent with the best mean PSNR-Y over the first training photos: a rival is tuned too."""

    def score(setting: tuple[float, int]) -> float:
        pairs = zip(training.hr[:photos], training.lr[:photos], strict=True)
        return float(np.mean([psnr_y(to_tensor(sharpened(lr, *setting)), to_tensor(hr)) for hr, lr in pairs]))

    return max(SHARPEN, key=score)


def linear(training: Pairs, patches: int) -> Enlarger:
    """The least-squares filter, fitted as the trainer fits it, rounded to uint8."""
    fitted = LinearFilter(training, patches)

    def enlarge(lr: Pixels) -> Pixels:
        image = (fitted(to_tensor(lr)[None])[0].clamp(-1, 1) + 1) * 127.5
        return image.round().byte().movedim(0, -1).numpy()

    return enlarge


def restored(restorer: Restorer, schedule: str | None, folder: Path) -> Enlarger:
    """A schedule of the bundle, through image files as the command line does it."""

    def enlarge(lr: Pixels) -> Pixels:
        file = folder / "lr.png"
        write_image(file, ImageFile(pixels=lr))
        result: Pixels = restorer.restore(read_image(file).pixels, schedule=schedule)
        return result

    return enlarge


def compare(photos: Pairs, enlargers: Mapping[str, Enlarger]) -> tuple[Scores, list[dict[str, Pixels]]]:
    """Scores of each enlarger for each photo, and from each photo the crop where bicubic loses most."""
    scores: Scores = {name: [] for name in enlargers}
    crops = []
    for hr, lr in zip(photos.hr, photos.lr, strict=True):
        images = {name: enlarge(lr) for name, enlarge in enlargers.items()}
        for name, image in images.items():
            pair = to_tensor(image), to_tensor(hr)
            scores[name].append((psnr_y(*pair), ssim_y(*pair)))
        rows, columns, amount = liveliest_crop(hr, images["bicubic"], CROP)
        cut = {name: np.ascontiguousarray(image[rows, columns]) for name, image in (images | {"HR": hr}).items()}
        crops.append((amount, cut))
    return scores, [cut for _, cut in sorted(crops, key=lambda crop: -crop[0])[:CROPS]]


def rows(scores: Scores, names: Sequence[str]) -> list[tuple[object, ...]]:
    """`PSNR-Y / SSIM` of each photo and the mean; columns in the order of `scores`."""

    def cell(values: Sequence[tuple[float, float]]) -> str:
        psnr, ssim = (float(np.mean(column)) for column in zip(*values, strict=True))
        return f"{psnr:.2f} / {ssim:.4f}"

    table: list[tuple[object, ...]] = [
        (name, *(cell([values[index]]) for values in scores.values())) for index, name in enumerate(names)
    ]
    table.append(("**mean**", *(cell(values) for values in scores.values())))
    above = [np.mean([a[0] - b[0] for a, b in zip(v, scores["linear"], strict=True)]) for v in scores.values()]
    table.append(("mean PSNR-Y above linear", *(f"{gain:+.2f}" for gain in above)))
    return table


def main() -> None:
    """Fit the rivals, compare, write the page and the sheet."""
    parser = arguments(__doc__, "quality")
    parser.add_argument("photos", type=Path, help="folder with train/ and validation/, from tools/demo_photos.py")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="also write crops side by side (PNG)")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    training, validation = (Pairs(args.photos / part, SEED) for part in ("train", "validation"))
    if args.quick:
        for images in (validation.names, validation.hr, validation.lr):
            del images[2:]
    radius, percent = best_sharpening(training, 2 if args.quick else 12)
    with tempfile.TemporaryDirectory() as folder, Restorer.open(args.bundle) as restorer, torch.inference_mode():
        enlargers: dict[str, Enlarger] = {
            "bicubic": bicubic,
            "unsharp": lambda lr: sharpened(lr, radius, percent),
            "linear": linear(training, 300 if args.quick else 3000),
        }
        for schedule in restorer.bundle.manifest.schedules or (None,):
            name = schedule or restorer.bundle.manifest.name
            enlargers[name] = restored(restorer, schedule, Path(folder))
        scores, crops = compare(validation, enlargers)
    page = Page(
        "Quality on unseen photos", weights=weights_line(args.bundle), packages=("onnxruntime", "torch", "pillow")
    )
    page.text(
        "LR is Pillow's antialiased bicubic /4, uint8; all results are uint8. PSNR on BT.601 Y, SSIM on Y with an "
        f"11x11 Gaussian window, {SCALE} pixels of border left out. unsharp: bicubic and Pillow's "
        f"UnsharpMask(radius={radius}, percent={percent}), the best of {len(SHARPEN)} on training photos. "
        "linear: the best linear mix of 5x5 LR pixels for each of the 16 result pixels, least squares on "
        f"{len(training.names)} training photos."
    )
    page.table("PSNR-Y (dB) / SSIM", ("photo", *scores), rows(scores, [path.stem for path in validation.names]))
    page.write(args.output)
    if args.sheet:
        write_sheet(args.sheet, crops)


if __name__ == "__main__":
    main()
