"""Writes the demo model's card and licence file beside its weights, from the trainer's report and the photo table.

    python tools/demo_card.py CHECKPOINT_FOLDER

`lqhq export` takes both files along into the bundle.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("demo_photos.json")

CARD = """# Model card: lqhq demo, InDI x4

A small network that shows lqhq working on real photos. It is a demonstration, not a state-of-the-art upscaler.

- **What it does:** enlarges photos four times. It learned to undo one degradation, antialiased bicubic reduction by
  four with rounding to 8 bit; JPEG artefacts, noise and blur of other kinds it leaves or sharpens.
- **Network:** `film_resnet`, {parameters} parameters: pixel-unshuffle by 4, {blocks} residual blocks of {width}
  channels modulated by t, pixel-shuffle, added to its input. No normalisation, no attention.
- **Method:** InDI (Delbracio and Milanfar, arXiv 2303.11435): F(x_t, t) gives the clean image; x_t = (1 - t) x + t y
  without noise, t = 1 in 75 % of the samples, else uniform. Loss: Charbonnier. Optimiser: Muon for the body, AdamW
  for the rest; cosine schedule over the run.
- **Run:** {minutes:.0f} minutes on {device}, {steps} steps, {patches} patches of {side}x{side} LR pixels.
- **Data:** {train} photos and renders under CC0, CC-BY, CC-BY-SA or in the public domain; {held} whole photos were
  kept aside and never trained on. Camera JPEGs were reduced two to five times first, since they are soft at pixel
  level. Attributions: `LICENCE.md`. Collect them with `tools/demo_photos.py`, train with `tools/train_demo.py`.
- **Limits:** few photos, none of text or drawings at small size; may turn fine repeated texture the wrong way.

## Validation

Whole photos never trained on, LR = antialiased bicubic / 4, PSNR and SSIM on BT.601 Y, 4 px border cut, mean over
photos. `linear` is the best linear filter: each HR pixel a mix of 5x5 LR pixels, least squares on the training photos.

| method | PSNR-Y | SSIM |
|---|---|---|
{table}

| photo | bicubic | linear | N=1 |
|---|---|---|---|
{photos}

## Curve

Averaged weights on the same photos, one step, while the learning rate was still falling.

| minutes | step | PSNR-Y | SSIM |
|---|---|---|---|
{curve}
"""
LICENCE = """# Licence of the demo weights

The weights in this bundle are published under CC-BY-SA-4.0 (Creative Commons Attribution-ShareAlike 4.0
International, https://creativecommons.org/licenses/by-sa/4.0/). Attribution: the lqhq project, and the authors of
the images that the model was trained on:

| image | author | licence | from |
|---|---|---|---|
{rows}
"""


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def card(report: dict[str, Any], config: dict[str, Any], table: dict[str, Any]) -> str:
    """The card's text, from `report.json`, `config.json` and `demo_photos.json`."""
    methods = report["validation"]
    names = [name for name in ("bicubic", "linear", "N=1", "N=2", "N=4") if name in methods]
    photos = methods["N=1"]["photos"]
    columns = ("bicubic", "linear", "N=1")
    return CARD.format(
        **{key: config[key] for key in ("width", "blocks")},
        parameters=f"{report['parameters']:,}",
        minutes=report["minutes"],
        device={"cpu": "two CPU cores"}.get(report["device"], report["device"]),
        steps=report["steps"],
        patches=report["patches"],
        side=report["side"],
        train=len(table["train"]),
        held=len(table["validation"]),
        table="\n".join(_row(n, f"{methods[n]['psnr_y']:.2f}", f"{methods[n]['ssim']:.4f}") for n in names),
        photos="\n".join(
            _row(photo.split("@")[0], *(f"{methods[n]['photos'][photo][0]:.2f}" for n in columns)) for photo in photos
        ),
        curve="\n".join(
            _row(point["minutes"], point["step"], f"{point['psnr_y']:.2f}", f"{point['ssim']:.4f}")
            for point in report["curve"]
        ),
    )


def licence(table: dict[str, Any]) -> str:
    """The licence file's text: every training image with author, licence and package."""
    rows = [
        _row(photo["file"], photo["author"], photo["licence"], table["sources"][photo["source"]]["package"])
        for photo in table["train"]
    ]
    return LICENCE.format(rows="\n".join(rows))


def main(folder: Path) -> None:
    report, config = (json.loads((folder / name).read_text()) for name in ("report.json", "config.json"))
    table = json.loads(TABLE.read_text())
    (folder / "MODEL_CARD.md").write_text(card(report, config, table))
    (folder / "LICENCE.md").write_text(licence(table))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
