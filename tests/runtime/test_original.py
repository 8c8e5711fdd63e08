"""The original program's sizes and pixels: its golden images, its 127-pixel traps, its tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.original import original_image, original_size, original_tile
from lqhq.runtime.rules_spec import Fit, OriginalRules, OriginalUpscale
from lqhq.runtime.tiles import plan_tiles

GOLDEN = Path(__file__).parents[1] / "data/osediff-tiny"
CASES = ("final-mean", "final-noise", "final-smallinput", "latent-tiled", "latent-tiled-narrow")
DEFAULT = OriginalRules(small=128, steps=(OriginalUpscale(factor=4), Fit(multiple=8)))
SEED = 20260802


def case(name):
    with np.load(GOLDEN / f"case-{name}.npz") as arrays:
        return dict(arrays)


def rules_of(arrays):
    factor = int(arrays["upscale"])
    steps = (OriginalUpscale(factor=factor), Fit(multiple=8))
    return OriginalRules(small=int(arrays["process_size"]) // factor, steps=steps)


@pytest.mark.parametrize("name", CASES)
def test_the_golden_images_bit_for_bit(name):
    arrays = case(name)
    result = original_image(arrays["lr_u8"], rules_of(arrays))
    assert result.dtype == np.uint8
    assert np.array_equal(result, arrays["upscaled_u8"])
    assert original_size(Size(*arrays["lr_u8"].shape[:2]), rules_of(arrays)) == result.shape[:2]


def test_a_small_image_without_its_rule_is_noticed():
    """The planted fault."""
    arrays = case("final-smallinput")
    wrong = OriginalRules(small=8, steps=rules_of(arrays).steps)
    assert original_image(arrays["lr_u8"], wrong).shape != arrays["upscaled_u8"].shape


def test_truncation_loses_a_pixel_at_four_sides():
    short = [side for side in range(1, 128) if original_size(Size(side, 300), DEFAULT).height != 512]
    assert short == [49, 98, 103, 107]
    assert {original_size(Size(side, 300), DEFAULT).height for side in short} == {504}  # 127 * 4 = 508, and fitted


def test_only_a_side_below_the_limit_enlarges():
    assert original_size(Size(128, 150), DEFAULT) == Size(512, 600)
    assert original_size(Size(150, 127), DEFAULT) == Size(int(128 / 127 * 150) * 4 // 8 * 8, 512)
    assert original_size(Size(131, 200), DEFAULT) == Size(520, 800)


def test_grey_is_each_channel_of_colour():
    grey = np.random.default_rng(SEED).integers(0, 256, (20, 33, 1)).astype(np.uint8)
    rules = OriginalRules(small=24, steps=(OriginalUpscale(factor=2), Fit(multiple=8)))
    colour = original_image(np.repeat(grey, 3, axis=2), rules)
    assert np.array_equal(np.repeat(original_image(grey, rules), 3, axis=2), colour)


def test_a_factor_of_one_leaves_what_fits():
    image = np.random.default_rng(SEED).integers(0, 256, (64, 72, 3)).astype(np.uint8)
    rules = OriginalRules(small=64, steps=(OriginalUpscale(factor=1), Fit(multiple=8)))
    assert np.array_equal(original_image(image, rules), image)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_more_than_eight_bits_is_refused(dtype):
    with pytest.raises(OptionError, match=f"an image of {np.dtype(dtype)}; expected uint8.*default rules"):
        original_image(np.zeros((200, 200, 3), dtype), DEFAULT)


def test_an_image_that_fits_no_multiple_is_refused():
    rules = OriginalRules(small=1, steps=(OriginalUpscale(factor=1), Fit(multiple=8)))
    with pytest.raises(OptionError, match="found 20x7 pixels after enlarging; expected at least 8"):
        original_size(Size(7, 20), rules)


@pytest.mark.parametrize("name", ["latent-tiled", "latent-tiled-narrow"])
def test_the_golden_tiles(name):
    arrays = case(name)
    z, overlap = arrays["z"][0], int(arrays["latent_tiled_overlap"])
    canvas = Size(*z.shape[1:])
    square = original_tile(canvas, int(arrays["latent_tiled_size"]), overlap)
    assert square is not None
    plan = plan_tiles(canvas, square, overlap=overlap, multiple=1, dense=True)
    assert len(plan) == arrays["n_tiles"]
    by_column = [plan.box(row * len(plan.lefts) + column) for column in range(len(plan.lefts)) for row in _rows(plan)]
    for given, box in zip(("tile0_in", "tile1_in"), by_column, strict=False):
        assert np.array_equal(arrays[given][0], z[:, box.rows, box.columns])


def _rows(plan):
    return range(len(plan.tops))


@pytest.mark.parametrize(
    ("canvas", "expected"),
    [
        (Size(96, 96), None),
        (Size(64, 144), None),  # the area of 96 x 96
        (Size(20, 460), None),
        (Size(64, 145), Size(64, 64)),
        (Size(97, 96), Size(96, 96)),
        (Size(128, 128), Size(96, 96)),
        (Size(33, 400), Size(33, 33)),
    ],
)
def test_the_area_decides_and_the_shorter_side_cuts(canvas, expected):
    assert original_tile(canvas, 96, 32) == expected


@pytest.mark.parametrize("height", [20, 32])
def test_where_the_original_never_ends_is_refused(height):
    with pytest.raises(OptionError, match=f"tile {height}, overlap 32; expected .* runs for ever.*default rules"):
        original_tile(Size(height, 600), 96, 32)
    plan = plan_tiles(Size(height, 600), Size(96, 96), overlap=32, multiple=1)  # what the default rules do there
    assert plan.tile == Size(height, 96)
    assert plan.tops == (0,)
    assert plan.lefts == (*range(0, 504, 64), 504)
