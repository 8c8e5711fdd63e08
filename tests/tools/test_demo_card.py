"""The card tells which demo it is from the checkpoint, and its numbers are the report's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lqhq.tools.demo_card import main
from lqhq.tools.train_diffir import SHAPE, build, official


def report(headline: str) -> dict[str, Any]:
    scores = {"psnr_y": 30.25, "ssim": 0.75, "photos": {"cat@2": [30.25, 0.75]}}
    better = {"psnr_y": 31.5, "ssim": 0.875, "photos": {"cat@2": [31.5, 0.875]}}
    return {
        "steps": 1234,
        "patches": 9872,
        "side": 48,
        "minutes": 80.67,
        "device": "cpu",
        "parameters": 1779803,
        "remarks": ["The run was stopped once."],
        "curve": [{"minutes": 10.0, "step": 300, "loss": 0.02, "psnr_y": 30.75, "ssim": 0.8}],
        "validation": {"bicubic": scores, "linear": scores, headline: better},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    state = official(build(SHAPE))
    torch.save({"params": state, "params_ema": state}, tmp_path / "net_g_demo.pth")
    (tmp_path / "report.json").write_text(json.dumps(report("DiffIR")))
    return tmp_path


def test_diffir_card(folder: Path) -> None:
    main(folder)
    card = (folder / "MODEL_CARD.md").read_text()
    for told in (
        "# Model card: lqhq demo, DiffIR x4\n",
        "1,779,803 parameters: 12 channels at level 1,\n  2, 1, 1, 1 blocks per level, 2 of refinement;",
        "0 residual blocks in CPEN; 1 inner layer of\n  the denoiser.",
        "arXiv 2303.09472): 4 steps",
        "81 minutes on two CPU cores, 1234 steps, 9872 patches of 48x48",
        "LR pixels.\n  The run was stopped once.\n- **Data:**",
        "| DiffIR | 31.50 | 0.8750 |",
        "| photo | bicubic | linear | DiffIR |\n|---|---|---|---|\n| cat | 30.25 | 30.25 | 31.50 |\n",
        "| 10.0 | 300 | 30.75 | 0.8000 |",
        "`tools/train_diffir.py`",
    ):
        assert told in card
    assert "InDI" not in card
    assert "{" not in card


def test_licence_names_every_training_image(folder: Path) -> None:
    main(folder)
    table = json.loads((Path(__file__).parents[2] / "tools" / "demo_photos.json").read_text())
    text = (folder / "LICENCE.md").read_text()
    assert all(f"| {photo['file']} | {photo['author']} | {photo['licence']} |" in text for photo in table["train"])
    unused = {photo["file"] for photo in table["validation"]} - {photo["file"] for photo in table["train"]}
    assert unused
    assert not any(name in text for name in unused)  # planted: the licence of a photo that was not trained on


def test_report_of_the_other_demo_is_refused(folder: Path) -> None:
    (folder / "report.json").write_text(json.dumps(report("N=1")))
    with pytest.raises(KeyError, match="DiffIR"):
        main(folder)
