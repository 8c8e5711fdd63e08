"""Writes a demo model's card and licence file beside its weights, from the trainer's report and the photo table.

    python tools/demo_card.py CHECKPOINT_FOLDER

Lines that you add to the report as "remarks" are told beside the run. `lqhq export` takes both files along into the
bundle. The weights' file tells which of the demos it is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lqhq.export.families.diffir.load_official import load

TABLE = Path(__file__).with_name("demo_photos.json")

CARD = """# Model card: lqhq demo, {title} x4

A small network that shows lqhq working on real photos. It is a demonstration, not a state-of-the-art upscaler.

- **What it does:** enlarges photos four times. It learned to undo one degradation, antialiased bicubic reduction by
  four with rounding to 8 bit; JPEG artefacts, noise and blur of other kinds it leaves or sharpens.
{method}
- **Run:** {minutes:.0f} minutes on {device}, {steps} steps, {patches} patches of {side}x{side} LR pixels.{remarks}
- **Data:** {train} photos and renders under CC0, CC-BY, CC-BY-SA or in the public domain; {held} whole photos were
  kept aside and never trained on. Camera JPEGs were reduced two to five times first, since they are soft at pixel
  level. Attributions: `LICENCE.md`. Collect them with `tools/demo_photos.py`, train with `tools/{script}`.
- **Limits:** few photos, none of text or drawings at small size; may turn fine repeated texture the wrong way.

## Validation

Whole photos never trained on, LR = antialiased bicubic / 4, PSNR and SSIM on BT.601 Y, 4 px border cut, mean over
photos. `linear` is the best linear filter: each HR pixel a mix of 5x5 LR pixels, least squares on the training photos.

| method | PSNR-Y | SSIM |
|---|---|---|
{table}

{photos}

## Curve

Averaged weights on the same photos, {curve_of}, while the learning rate was still falling.

| minutes | step | PSNR-Y | SSIM |
|---|---|---|---|
{curve}
"""
INDI = """\
- **Network:** `film_resnet`, {parameters} parameters: pixel-unshuffle by 4, {blocks} residual blocks of {width}
  channels modulated by t, pixel-shuffle, added to its input. No normalisation, no attention.
- **Method:** InDI (Delbracio and Milanfar, arXiv 2303.11435): F(x_t, t) gives the clean image; x_t = (1 - t) x + t y
  without noise, t = 1 in 75 % of the samples, else uniform. Loss: Charbonnier. Optimiser: Muon for the body, AdamW
  for the rest; cosine schedule over the run."""
DIFFIR = """\
- **Network:** DiffIR stage 2 in its official structure, {parameters} parameters: {dim} channels at level 1,
  {blocks} blocks per level, {refinement} of refinement; {encoder} residual blocks in CPEN; {denoiser} inner layer of
  the denoiser.
- **Method:** DiffIR (Xia et al., arXiv 2303.09472): {steps} steps turn noise into a vector of 256 numbers that
  modulates every block. Trained end to end from noise to image, without stage 1; CPEN saw a random part of each
  patch. Loss: Charbonnier. Optimiser: Muon for the dense 3x3 convolutions, AdamW for the rest; cosine schedule over
  the run.
- **Not local:** its attention mixes channels over the whole image, so that tiles and whole images differ."""
LICENCE = """# Licence of the demo weights

The weights in this bundle are published under CC-BY-SA-4.0 (Creative Commons Attribution-ShareAlike 4.0
International, https://creativecommons.org/licenses/by-sa/4.0/). Attribution: the lqhq project, and the authors of
the images that the model was trained on:

| image | author | licence | from |
|---|---|---|---|
{rows}
"""


@dataclass(frozen=True, slots=True)
class Model:
    """What the card says about one demo. `headline` is the method, in the report, that the bundle runs."""

    title: str
    method: str
    script: str
    headline: str
    others: tuple[str, ...]
    curve_of: str


def described(folder: Path, parameters: str) -> Model:
    """The demo whose checkpoint lies in the folder."""
    official = folder / "net_g_demo.pth"
    if not official.exists():
        config = json.loads((folder / "config.json").read_text())
        method = INDI.format(parameters=parameters, blocks=config["blocks"], width=config["width"])
        return Model("InDI", method, "train_demo.py", "N=1", ("N=2", "N=4"), "one step")
    network = load(official.name, torch.load(official, weights_only=True)["params_ema"], [])
    shape = network.G.shape
    method = DIFFIR.format(
        parameters=parameters,
        dim=shape.dim,
        blocks=", ".join(map(str, shape.blocks)),
        refinement=shape.refinement,
        encoder=sum("body.0.weight" in name for name in network.condition.state_dict()),
        denoiser=len(network.denoise.resmlp) - 2,
        steps=network.schedule.steps,
    )
    return Model("DiffIR", method, "train_diffir.py", "DiffIR", (), "seed 0")


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    return "\n".join([_row(*head), "|" + "---|" * len(head), *(_row(*row) for row in rows)])


def card(report: dict[str, Any], model: Model, table: dict[str, Any]) -> str:
    """The card's text, from `report.json`, the model and `demo_photos.json`."""
    methods = report["validation"]
    names = ("bicubic", "linear", model.headline, *model.others)
    columns = ("bicubic", "linear", model.headline)
    photos = [
        (photo.split("@")[0], *(f"{methods[name]['photos'][photo][0]:.2f}" for name in columns))
        for photo in methods[model.headline]["photos"]
    ]
    return CARD.format(
        title=model.title,
        method=model.method,
        script=model.script,
        curve_of=model.curve_of,
        minutes=report["minutes"],
        device={"cpu": "two CPU cores"}.get(report["device"], report["device"]),
        steps=report["steps"],
        patches=report["patches"],
        side=report["side"],
        remarks="".join(f"\n  {line}" for line in report.get("remarks", ())),
        train=len(table["train"]),
        held=len(table["validation"]),
        table="\n".join(_row(n, f"{methods[n]['psnr_y']:.2f}", f"{methods[n]['ssim']:.4f}") for n in names),
        photos=_table(("photo", *columns), photos),
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
    """Write `MODEL_CARD.md` and `LICENCE.md` into the folder."""
    report = json.loads((folder / "report.json").read_text())
    table = json.loads(TABLE.read_text())
    model = described(folder, f"{report['parameters']:,}")
    (folder / "MODEL_CARD.md").write_text(card(report, model, table))
    (folder / "LICENCE.md").write_text(licence(table))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
