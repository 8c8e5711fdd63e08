"""The verdict tells images that have the damage from those that have none, and from other damage."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.tools.judge_lq_ddpm import CELL, ENLARGED, SHEET, contact_sheet, page, verdict
from lqhq.tools.lq_damage import blur, damage
from lqhq.tools.lq_statistics import STATISTICS

SEED = 20261122


@pytest.fixture(scope="module")
def clean() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED)
    soft = {name: blur(rng.normal(0, 1, (96, 104, 1)).astype(np.float32), 5.0).repeat(3, 2) for name in ("a", "b", "c")}
    return {name: np.clip(128 + 40 * x / x.std(), 0, 255).astype(np.uint8) for name, x in soft.items()}


def test_damaged_images_pass_and_others_do_not(clean: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(SEED)
    real = {name: damage(photo, (SEED, k)) for k, (name, photo) in enumerate(clean.items())}
    white = {
        name: np.clip(photo + rng.normal(0, 8, photo.shape), 0, 255).astype(np.uint8) for name, photo in clean.items()
    }
    table = verdict({"none": clean}, {"none": {0.05: clean, 0.1: real, 0.15: white}})
    same, passed, failed = (table[f"none, strength {s:g}"] for s in (0.05, 0.1, 0.15))
    assert all(part == pytest.approx(1) for part in same["remaining"].values())
    assert all(part == 0 for part in table["damaged"]["remaining"].values())
    assert max(passed["remaining"].values()) < 0.8
    assert failed["remaining"]["blotch size"] > 0.8
    assert failed["remaining"]["blockiness"] > 0.8
    assert same["content"] > 80
    assert 20 < passed["content"] < 45
    text = page(table)
    assert text.startswith("| images | " + " | ".join(STATISTICS))
    assert f"| none, strength 0.05 | {same['means']['luma noise']:.2f} (100%)" in text
    assert len(text.splitlines()) == 2 + len(table)


def test_sheet_has_a_row_for_each_photo_and_damage_last(clean: dict[str, np.ndarray]) -> None:
    page_of = contact_sheet(clean, dict.fromkeys(SHEET, clean))
    cell = CELL * ENLARGED
    columns = 2 + len(SHEET)
    assert page_of.shape[0] > len(clean) * cell
    gap = (page_of.shape[1] - columns * cell) // (columns + 1)
    cells = [page_of[gap : gap + cell, gap + k * (cell + gap) :][:, :cell] for k in range(columns)]
    assert all(np.array_equal(cells[0], other) for other in cells[1:-1])
    assert not np.array_equal(cells[0], cells[-1])
