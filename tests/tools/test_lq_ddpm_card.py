"""The card's numbers are the report's and the verdict's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lqhq.tools.lq_ddpm_card import main
from lqhq.tools.lq_statistics import STATISTICS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    report = {
        "steps": 1234,
        "crops": 19744,
        "side": 64,
        "minutes": 80.67,
        "parameters": 1889123,
        "remarks": ["The run was stopped once."],
        "curve": [{"minutes": 5.0, "step": 300, "loss": 0.02, "validation": 0.03125}],
    }
    means, parts = dict.fromkeys(STATISTICS, 2.5), dict.fromkeys(STATISTICS, 0.75)
    entry = {"photos": 5, "means": means, "remaining": parts}
    chance = entry | {"remaining": dict.fromkeys(STATISTICS, 0.125)}
    verdict = {"damaged": entry, "another draw": chance, "none, strength 0.1": entry | {"content": 31.25}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "verdict.json").write_text(json.dumps(verdict))
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(
        json.dumps({"block_out_channels": [32, 48, 64, 96], "layers_per_block": 1})
    )
    return tmp_path


def test_card(folder: Path) -> None:
    main(folder, folder)
    card = (folder / "MODEL_CARD.md").read_text()
    for told in (
        "Means over 5 photos",
        "1,889,123 parameters: 32, 48, 64, 96 channels",
        "81 minutes of a clock",
        "1234 steps, 19744 crops of\n  64x64 pixels",
        "JPEG grid.\n  The run was stopped once.\n- **Data:**",
        "at strength 0.1 it leaves 75% of the distance from small photos to",
        "where\n  chance alone leaves 12%",
        "| none, strength 0.1 | 2.50 (75%) |",
        "| 75% | 31.2 dB |",
        "| 5.0 | 300 | 0.0200 | 0.0312 |",
    ):
        assert told in card
    assert "{" not in card
    assert "CC-BY-SA-4.0" in (folder / "LICENCE.md").read_text()


def test_a_report_without_its_numbers_is_no_card(folder: Path) -> None:
    (folder / "report.json").write_text("{}")
    with pytest.raises(KeyError):
        main(folder, folder)
