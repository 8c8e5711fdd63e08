"""Writes the card and the licence of the demo of synthesis beside its weights.

    python tools/lq_ddpm_card.py CHECKPOINT_FOLDER VERDICT_FOLDER

The folder is what train_lq_ddpm.py left, with `report.json`; the verdict is judge_lq_ddpm.py's. Lines that you add to
the report as "remarks" are told beside the run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from lqhq.tools.demo_card import TABLE, licence
from lqhq.tools.judge_lq_ddpm import page

__all__ = ["card", "main"]

TOLD = 0.1  # the strength that the card tells of: content is kept there

CARD = """# Model card: lqhq demo, LQ-DDPM

A small network that shows `lqhq synthesize` working on real photos. It is a demonstration: it knows one kind of damage,
and that kind was made by a program.

- **What it does:** gives small clean photos the look of an archive: the noise of a phone at high sensitivity with
  blotches of colour, halos of sharpening, blocks of a strong JPEG, and now and then the grain of a film scan.
- **Network:** diffusers `UNet2DModel`, {parameters:,} parameters: {channels} channels at four levels, {blocks} residual
  block at each, no attention. Linear betas 1e-4 to 0.02 in 1000 steps, prediction epsilon.
- **Method:** an unconditional DDPM of damaged photos alone; synthesis starts from a degraded photo with noise (Yang et
  al., arXiv 2303.06994). Timesteps of training are uniform below 250, for strengths up to 0.25. Optimiser: Muon for the
  inner convolutions, AdamW for the rest; cosine schedule over the run.
- **Run:** {minutes:.0f} minutes of a clock on two CPU cores that did other work, too; {steps} steps, {crops} crops of
  {side}x{side} pixels, aligned with the JPEG grid.{remarks}
- **Data:** {train} photos and renders under CC0, CC-BY, CC-BY-SA or in the public domain, made 2.5 to 4 times smaller
  and damaged by `tools/lq_damage.py`; {held} whole photos were kept aside and never trained on. Attributions:
  `LICENCE.md`. Collect them with `tools/demo_photos.py`, train with `tools/train_lq_ddpm.py`.
- **Limits:** at strength {strength:g} it leaves {left:.0%} of the distance from small photos to damaged ones, where
  chance alone leaves {chance:.0%}: noise and blocks come, blotches of colour stay too small. Few photos, none of text
  or faces at small size; one kind of damage; fine texture changes with strength, since nothing but the start keeps the
  content. Colour is halved on a grid of 16 pixels, of which the network, whose coarsest cell is 8, sees only half.

## Verdict

Photos never trained on, through `lqhq synthesize`, against the same photos damaged by `tools/lq_damage.py` (`damaged`:
mean of eight draws; `another draw`: one more, which tells what chance leaves). Means over {judged} photos, taken where
the undamaged photo is calm; in brackets, what remains of the distance between `none`, the photos that are only made
smaller, and `damaged`, photo by photo; `distance`: the mean of these. `content`: PSNR to what synthesis started with,
under a blur of 2 px. Noise in levels; size of grain and blotches as correlation at 1 and 2 px; blockiness 1 is none.
Written by `tools/judge_lq_ddpm.py`.

{verdict}
## Curve

Mean squared error of predicted noise: of the last hundred batches, and of the averaged weights on photos never trained
on.

| minutes | step | training | validation |
|---|---|---|---|
{curve}
"""


def card(
    report: Mapping[str, Any], config: Mapping[str, Any], verdict: Mapping[str, Any], table: Mapping[str, Any]
) -> str:
    """The card's text, from `report.json`, the network's `config.json`, `verdict.json` and `demo_photos.json`."""
    rows = ((p["minutes"], p["step"], f"{p['loss']:.4f}", f"{p['validation']:.4f}") for p in report["curve"])
    return CARD.format(
        **{key: report[key] for key in ("parameters", "minutes", "steps", "crops", "side")},
        channels=", ".join(map(str, config["block_out_channels"])),
        blocks=config["layers_per_block"],
        remarks="".join(f"\n  {line}" for line in report.get("remarks", ())),
        train=len(table["train"]),
        held=len(table["validation"]),
        strength=TOLD,
        left=_distance(verdict[f"none, strength {TOLD:g}"]),
        chance=_distance(verdict["another draw"]),
        judged=verdict["damaged"]["photos"],
        verdict=page(verdict),
        curve="\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows),
    )


def _distance(entry: Mapping[str, Any]) -> float:
    return fmean(entry["remaining"].values())


def main(folder: Path, judged: Path) -> None:
    """Write `MODEL_CARD.md` and `LICENCE.md` into the folder."""
    read = (folder / "report.json", folder / "unet" / "config.json", judged / "verdict.json", TABLE)
    report, config, verdict, table = (json.loads(path.read_text()) for path in read)
    (folder / "MODEL_CARD.md").write_text(card(report, config, verdict, table))
    (folder / "LICENCE.md").write_text(licence(table))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
