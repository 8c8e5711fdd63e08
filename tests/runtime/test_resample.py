"""Resampling: Pillow's bits and numbers at any size, whatever the bands, and the enlargement that tiles read."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from lqhq.runtime import resample as resample_file
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.resample import resample, resample_u8
from lqhq.runtime.resize import enlarge

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
SEED = 20260801
SIZES = [  # from, to: (height, width)
    ((1, 1), (1, 1)),
    ((1, 1), (7, 5)),
    ((9, 14), (1, 1)),
    ((17, 13), (68, 52)),
    ((68, 52), (64, 48)),
    ((49, 300), (127, 783)),
    ((60, 40), (60, 95)),
    ((60, 40), (33, 40)),
    ((5, 200), (90, 3)),
    ((250, 4), (7, 60)),
]


def values(size, channels=3, *, hard=False, seed=SEED):
    drawn = np.random.default_rng(seed).integers(0, 256, (*size, channels))
    return (np.where(drawn > 127, 255, 0) if hard else drawn).astype(np.uint8)


def pillow_u8(image, size, filter):
    """Along x, then along y, as Pillow 9.5 does in one call: version 13 turns the order around for some sizes."""
    grey = image.shape[2] == 1
    wide = Image.fromarray(image[:, :, 0] if grey else image).resize((size.width, image.shape[0]), FILTERS[filter])
    return np.asarray(wide.resize((size.width, size.height), FILTERS[filter])).reshape(*size, image.shape[2])


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_pillows_bits(source, target, filter, hard):
    image = values(source, hard=hard)
    result = resample_u8(image, Size(*target), filter)
    assert result.dtype == np.uint8
    assert np.array_equal(result, pillow_u8(image, Size(*target), filter))


def test_pillows_bits_at_random_sizes():
    rng = np.random.default_rng(SEED)
    for index in range(250):
        height, width, *target = (int(side) for side in np.exp(rng.uniform(0, np.log(160), 4)))
        image = values((height, width), channels=1 + 2 * (index % 2), hard=index % 3 == 0, seed=index)
        for filter in FILTERS:
            result = resample_u8(image, Size(*target), filter)
            assert np.array_equal(result, pillow_u8(image, Size(*target), filter)), (index, image.shape, target)


@pytest.mark.parametrize("fault", ["filter", "order", "bits", "one pass"])
def test_planted_faults_are_noticed(fault, monkeypatch):
    image, size = values((68, 52)), Size(64, 48)
    expected = pillow_u8(image, size, "lanczos")
    if fault == "filter":
        wrong = resample_u8(image, size, "bicubic")
    elif fault == "order":
        wrong = resample_u8(image.transpose(1, 0, 2), Size(48, 64), "lanczos").transpose(1, 0, 2)
    elif fault == "bits":
        monkeypatch.setattr(resample_file, "PRECISION_BITS", 10)
        wrong = resample_u8(image, size, "lanczos")
    else:
        wrong = np.rint(resample(image, size, "lanczos")).clip(0, 255).astype(np.uint8)
    assert not np.array_equal(wrong, expected)


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_the_floats_are_pillows(source, target, filter):
    image = np.random.default_rng(SEED).random(source, np.float32)
    expected = np.asarray(Image.fromarray(image).resize(target[::-1], FILTERS[filter]))
    result = resample(image[:, :, None], Size(*target), filter)
    assert result.dtype == np.float32
    assert np.abs(result[:, :, 0] - expected).max() < 3e-6


def test_whole_factors_are_the_enlargement_that_boxes_read():
    image = np.random.default_rng(SEED).integers(0, 65536, (23, 31, 3)).astype(np.uint16)
    expected = enlarge(image, 4, "bicubic", Box(0, 0, 92, 124))
    assert np.abs(resample(image, Size(92, 124), "bicubic") - expected).max() < 0.05  # of 65535


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(("source", "target"), [((60, 40), (120, 33)), ((90, 40), (31, 80)), ((90, 40), (31, 40))])
def test_bands_and_blocks_do_not_show(source, target, filter, monkeypatch):
    image = values(source)
    whole = resample(image, Size(*target), filter), resample_u8(image, Size(*target), filter)
    monkeypatch.setattr(resample_file, "BAND", 700)
    monkeypatch.setattr(resample_file, "BLOCK", 300)
    assert np.array_equal(resample(image, Size(*target), filter), whole[0])
    assert np.array_equal(resample_u8(image, Size(*target), filter), whole[1])


def test_an_image_of_the_asked_size_is_copied():
    image = values((9, 5))
    same = resample_u8(image, Size(9, 5), "lanczos")
    assert np.array_equal(same, image)
    assert not np.shares_memory(same, image)
    assert np.array_equal(resample(image, Size(9, 5), "bicubic"), image.astype(np.float32))


def test_memory_is_the_result_and_a_few_bands():
    image = values((250, 1000))
    tracemalloc.start()
    result = resample(image, Size(1000, 4000), "bicubic")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - result.nbytes < 60e6


def test_wrong_requests_are_refused():
    with pytest.raises(OptionError, match="'box'"):
        resample(values((4, 4)), Size(8, 8), "box")
    with pytest.raises(OptionError, match="found 0x8; expected at least one pixel"):
        resample_u8(values((4, 4)), Size(8, 0), "bicubic")
