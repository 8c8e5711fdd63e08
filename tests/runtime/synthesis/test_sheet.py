"""The contact sheet."""

from __future__ import annotations

import numpy as np

from lqhq.runtime.degrade import degrade, load_degradation
from lqhq.runtime.image_file import ImageFile, read_image
from lqhq.runtime.image_write import write_image
from lqhq.runtime.synthesis.pair_key import file_digest, noise_seed, pair_key
from lqhq.runtime.synthesis.sheet import CELL, GAP, preview_steps, sheet, sheet_row


def test_strengths_are_spread_over_the_range(recipe):
    for strength, expected in (((0.0, 0.25), (1, 3, 5)), ((0.1, 0.1), (2,)), ((0.1, 0.25), (2, 3, 4, 5))):
        with recipe(strength=strength).open() as maker:
            assert preview_steps(maker) == expected


def test_a_row_shows_what_a_pair_is_made_of(recipe, sources):
    chosen = recipe()
    with chosen.open() as maker:
        hq, degraded, *made = sheet_row(maker, sources[0])
        key = pair_key(chosen.settings.seed, file_digest(sources[0].path), 0)
        expected = degrade(hq, load_degradation("mild"), scale=4, key=key).pixels
        restored = maker.restored(expected, 3, noise_seed(key))
    assert np.array_equal(hq, read_image(sources[0].path).pixels[:40, :48])
    assert np.array_equal(degraded[::4, ::4], expected)
    assert np.array_equal(degraded, expected.repeat(4, 0).repeat(4, 1))
    assert np.array_equal(made[1][::4, ::4], restored)
    assert len(made) == 3
    assert {cell.shape for cell in (degraded, *made)} == {hq.shape}


def test_of_a_large_image_the_middle_is_shown(tmp_path, recipe, sources):
    pixels = np.random.default_rng(0).integers(0, 256, (500, 420, 3), dtype=np.uint8)
    write_image(sources[0].path, ImageFile(pixels=pixels))
    with recipe().open() as maker:
        hq = sheet_row(maker, sources[0])[0]
    assert np.array_equal(hq, pixels[58 : 58 + CELL, 18 : 18 + CELL])


def test_cells_lie_apart_on_white():
    cells = [[np.full((4, 6, 3), 10 * index, np.uint8) for index in range(count)] for count in (3, 2)]
    page = sheet(cells)
    assert page.shape == (3 * GAP + 8, 4 * GAP + 18, 3)
    assert (page[GAP : GAP + 4, GAP + 6 + GAP : GAP + 12 + GAP] == 10).all()
    assert (page[GAP + 4 : 2 * GAP + 4] == 255).all()
    assert (page[2 * GAP + 4 : -GAP, 3 * GAP + 12 :] == 255).all()
