"""Enlarging: Pillow's and torch's numbers, and any part bit for bit as in the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Box
from lqhq.runtime.resize import enlarge

GOLDEN = Path(__file__).parents[1] / "data/indi-tiny/sr_x4_prep.npz"
FILTERS = ("bicubic", "bicubic_075")
SEED = 20260701
TOLERANCE = 1e-5  # of full range; float32 sums of four taps stay below 3e-7


def whole(image, factor, filter):
    return enlarge(image, factor, filter, Box(0, 0, image.shape[0] * factor, image.shape[1] * factor))


def noise(height, width, channels, dtype, seed=SEED):
    values = np.random.default_rng(seed).random((height, width, channels))
    return (values * {"uint8": 255, "uint16": 65535, "float32": 1}[np.dtype(dtype).name]).astype(dtype)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {name: arrays[name].transpose(1, 2, 0) for name in arrays}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("filter", "array"),
    [
        ("bicubic", "up_torch_bicubic_antialias"),
        ("bicubic", "up_pil_bicubic_float"),
        ("bicubic_075", "up_torch_bicubic"),
    ],
)
def test_the_golden_enlargements(golden, filter, array):
    result = whole(golden["lr_u8"], 4, filter) / np.float32(255)
    assert result.dtype == np.float32
    assert np.abs(result - golden[array]).max() < TOLERANCE


def test_the_other_kernel_would_be_noticed(golden):
    """The planted fault: a wrong a, or edges handled the other way."""
    wrong = whole(golden["lr_u8"], 4, "bicubic_075") / np.float32(255)
    assert np.abs(wrong - golden["up_pil_bicubic_float"]).max() > 1000 * TOLERANCE
    inner = (wrong - golden["up_pil_bicubic_float"])[12:-12, 12:-12]
    assert np.abs(inner).max() > 1000 * TOLERANCE


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (19, 23)])
@pytest.mark.parametrize("filter", FILTERS)
def test_torch_gives_the_same(torch, filter, size, factor):
    image = noise(*size, 3, "float32")
    result = whole(image, factor, filter)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).double(),
        scale_factor=factor,
        mode="bicubic",
        antialias=filter == "bicubic",
    )
    assert np.abs(result - expected[0].permute(1, 2, 0).numpy()).max() < 1e-6


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_part_has_the_bits_of_the_whole(data):
    height, width = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 14))
    channels, factor = data.draw(st.sampled_from([1, 2, 3, 4])), data.draw(st.integers(1, 6))
    dtype, filter = data.draw(st.sampled_from(["uint8", "uint16", "float32"])), data.draw(st.sampled_from(FILTERS))
    top = data.draw(st.integers(0, height * factor - 1))
    left = data.draw(st.integers(0, width * factor - 1))
    box = Box(
        top,
        left,
        data.draw(st.integers(1, height * factor - top)),
        data.draw(st.integers(1, width * factor - left)),
    )
    image = noise(height, width, channels, dtype)
    part = enlarge(image, factor, filter, box)
    assert part.shape == (*box.size, channels)
    assert np.array_equal(part, whole(image, factor, filter)[box.rows, box.columns])


def test_a_large_part_has_the_bits_of_the_whole():
    """Larger than a block of rows, where vector units and blocks end at other places."""
    image = noise(150, 170, 3, "uint8")
    box = Box(3, 5, 541, 663)
    assert np.array_equal(enlarge(image, 4, "bicubic", box), whole(image, 4, "bicubic")[box.rows, box.columns])


def test_only_the_source_under_the_taps_is_read():
    image = np.full((30, 30, 1), np.nan, np.float32)
    image[8:14, 6:12] = 0.5
    # Outputs 40..47 lie at source 9.625..11.375 and take rows 8 to 13 at most.
    assert np.isfinite(enlarge(image, 4, "bicubic", Box(40, 32, 8, 8))).all()
    assert np.isnan(enlarge(image, 4, "bicubic", Box(36, 32, 12, 8))).any()


@pytest.mark.parametrize("filter", FILTERS)
def test_a_constant_stays_constant(filter):
    result = whole(np.full((6, 9, 3), 65535, np.uint16), 4, filter)
    assert np.abs(result - 65535).max() < 0.02


def test_factor_one_changes_nothing():
    image = noise(9, 8, 3, "uint8")
    assert np.array_equal(whole(image, 1, "bicubic"), image)


@pytest.mark.parametrize(
    ("factor", "filter", "box", "word"),
    [
        (4, "lanczos", Box(0, 0, 4, 4), "'lanczos'"),
        (0, "bicubic", Box(0, 0, 4, 4), "0"),
        (4, "bicubic", Box(-1, 0, 4, 4), "-1"),
        (4, "bicubic", Box(0, 0, 33, 4), "33"),
        (4, "bicubic", Box(0, 0, 4, 0), "(0, 0, 4, 0)"),
    ],
)
def test_wrong_requests_are_refused(factor, filter, box, word):
    with pytest.raises(OptionError) as raised:
        enlarge(noise(8, 8, 3, "uint8"), factor, filter, box)
    assert word in raised.value.found
